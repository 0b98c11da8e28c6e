//! Logs to standard error. What is logged never holds a key: keys have no textual form in this program.

use portunus_config::model::{Log, LogFormat, LogLevel};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::{Registry, fmt};

/// Changes the level of a running process.
#[derive(Debug, Clone)]
pub struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

impl Logging {
    /// Starts logging; once a process.
    pub fn start(log: Log) -> Self {
        let (level, handle) = reload::Layer::new(filter(log.level));
        let registry = tracing_subscriber::registry().with(level);
        // Only a second start could fail, and then the first one's log is as good.
        let _ = match log.format {
            LogFormat::Text => {
                let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
                tracing::subscriber::set_global_default(registry.with(lines))
            }
            LogFormat::Json => {
                let lines = fmt::layer().json().with_writer(std::io::stderr).with_target(false);
                tracing::subscriber::set_global_default(registry.with(lines))
            }
        };
        Self { level: handle }
    }

    /// Changes the level.
    pub fn set(&self, level: LogLevel) {
        let _ = self.level.reload(filter(level));
    }
}
