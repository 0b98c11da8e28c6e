//! portunus-auc
