//! Reading files that should be small.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

/// Most bytes of a file that people write, or tools for them: users, keys, certificates.
pub const WRITTEN_BY_PEOPLE: u64 = 16 << 20;

/// The content of a regular file of at most `most` bytes.
///
/// What has its name and is something else, such as a pipe, is an error at once: nobody
/// waits for its other end. So is a longer file, before it fills the memory.
///
/// # Errors
///
/// As `open(2)` and `read(2)`; `InvalidInput` if it is no regular file; `FileTooLarge`.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file: File = openat(CWD, path, flags, Mode::empty())?.into();
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "expected a regular file"));
    }
    // It may grow while it is read.
    let mut content = Vec::with_capacity(usize::try_from(metadata.len().min(most)).unwrap_or(0));
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        let message = format!("expected at most {most} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

/// The same, of text.
///
/// # Errors
///
/// As [`read`]; `InvalidData` if it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "expected text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{FileType, mknodat};
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn files_are_read_up_to_a_length() {
        let base = TempDir::new().unwrap();
        let path = base.path().join("file");
        fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert_eq!(read(&path, 3).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert_eq!(read_text(&path, 4).unwrap(), "four");
        fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 4).unwrap_err().kind(), ErrorKind::InvalidData);
        let missing = read(&base.path().join("missing"), 4);
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let base = TempDir::new().unwrap();
        let pipe = base.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for path in [&pipe, base.path(), Path::new("/dev/zero")] {
            assert_eq!(read(path, 4).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
}
