//! The file, open twice: to read and write, and to read alone.
//!
//! What fails to be written (a full disk) closes the handle that failed for good; reads then go on by the other. The next
//! write opens the file anew, so that writing goes on by itself once there is room. As long as nothing failed, all goes
//! through the one that writes, whose page cache outlives its own commits.

use redb::{
    Builder, ConcurrencyMode, Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase as _, TransactionError,
    WriteTransaction,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// redb's own page cache of each handle, octets; its default is 1 GiB.
/// A page holds some fifteen subscribers, so
/// that this much is room for a million and a half; it grows as it is used.
const PAGE_CACHE: usize = 512 << 20;

/// See the module.
pub(super) struct File {
    path: PathBuf,
    reader: RwLock<Arc<ReadOnlyDatabase>>,
    writer: RwLock<Option<Arc<Database>>>,
    /// Held by whoever opens the file anew.
    opening: Mutex<()>,
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(PAGE_CACHE).set_concurrency_mode(ConcurrencyMode::MultiWriter);
    builder
}

/// True where nothing but opening the file anew helps.
fn is_closed(e: &TransactionError) -> bool {
    matches!(e, TransactionError::Storage(redb::StorageError::PreviousIo | redb::StorageError::Corrupted(_)))
}

impl File {
    /// Opens the file, or makes one.
    pub(super) fn open(path: &Path) -> Result<Self, redb::Error> {
        let writer = builder().create(path)?;
        let reader = builder().open_read_only(path)?;
        let (reader, writer) = (RwLock::new(Arc::new(reader)), RwLock::new(Some(Arc::new(writer))));
        Ok(Self { path: path.to_path_buf(), reader, writer, opening: Mutex::new(()) })
    }

    /// Begins to read what is there at this moment.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, redb::Error> {
        let writer = self.writer.read().unwrap_or_else(PoisonError::into_inner).clone();
        match writer.map(|writer| writer.begin_read()) {
            Some(Err(e)) if !is_closed(&e) => return Err(e.into()),
            Some(Ok(begun)) => return Ok(begun),
            _ => {}
        }
        let reader = Arc::clone(&self.reader.read().unwrap_or_else(PoisonError::into_inner));
        match reader.begin_read() {
            Err(e) if is_closed(&e) => {
                let fresh = Arc::new(builder().open_read_only(&self.path)?);
                *self.reader.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
                Ok(fresh.begin_read()?)
            }
            begun => Ok(begun?),
        }
    }

    /// Begins to write, when nobody else does.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, redb::Error> {
        let failed = self.writer.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(writer) = &failed {
            match writer.begin_write() {
                Err(e) if is_closed(&e) => {}
                begun => return Ok(begun?),
            }
        }
        Ok(self.anew(failed)?.begin_write()?)
    }

    /// Opens the file anew in the place of a handle that failed, unless somebody has done so meanwhile. Nobody waits for
    /// this but those who write.
    fn anew(&self, failed: Option<Arc<Database>>) -> Result<Arc<Database>, redb::Error> {
        let _turn = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let present = self.writer.read().unwrap_or_else(PoisonError::into_inner).clone();
        match (present, &failed) {
            (Some(present), Some(failed)) if !Arc::ptr_eq(&present, failed) => return Ok(present),
            (Some(present), None) => return Ok(present),
            _ => {}
        }
        // Its locks on the file go with it.
        *self.writer.write().unwrap_or_else(PoisonError::into_inner) = None;
        drop(failed);
        let fresh = Arc::new(builder().open(&self.path)?);
        *self.writer.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Has the file's checksums and structure verified; see [`Database::check_integrity`].
    pub(super) fn check_integrity(&mut self) -> Result<bool, redb::Error> {
        let place = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if place.is_none() {
            *place = Some(Arc::new(builder().open(&self.path)?));
        }
        match place.as_mut().and_then(Arc::get_mut) {
            Some(writer) => Ok(writer.check_integrity()?),
            // Nobody else can hold it while this one is held alone.
            None => Ok(false),
        }
    }
}
