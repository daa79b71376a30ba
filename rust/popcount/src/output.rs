//! Writing the table.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use thiserror::Error;

/// Why the table can't be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// The file can't be written.
    #[error("can't write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Replacing it would do something else than one expects of a device or directory.
    #[error("{path} is not a regular file; without --output, the table goes to standard output")]
    NotRegular {
        /// What was given as the file.
        path: PathBuf,
    },
    /// Standard output can't be written.
    #[error("can't write to standard output")]
    Stdout(#[source] io::Error),
}

/// Where the table goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To standard output.
    Stdout,
    /// To this file, whole or not at all.
    File(PathBuf),
}

impl Output {
    /// Where `--output` says; looks now whether that can work, since it would be a pity
    /// to learn of a misspelt directory when all has been fetched.
    pub fn new(file: Option<&Path>) -> Result<Self, OutputError> {
        let Some(path) = file else { return Ok(Self::Stdout) };
        let failed = |source| OutputError::File { path: path.to_owned(), source };
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => Err(OutputError::NotRegular { path: path.to_owned() }),
            // Where it is a link, that is not what is replaced.
            Ok(_) => Ok(Self::File(fs::canonicalize(path).map_err(failed)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::read_dir(directory(path)).map_err(failed)?;
                Ok(Self::File(path.to_owned()))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes the table there, as JSON, one entry in a line.
    pub fn write(&self, table: &BTreeMap<&str, u64>) -> Result<(), OutputError> {
        match self {
            Self::Stdout => {
                let mut stdout = BufWriter::new(io::stdout().lock());
                write_json(&mut stdout, table).map_err(OutputError::Stdout)
            }
            Self::File(path) => write_file(path, table)
                .map_err(|source| OutputError::File { path: path.clone(), source }),
        }
    }
}

fn write_file(path: &Path, table: &BTreeMap<&str, u64>) -> io::Result<()> {
    // Others may read it as far as the umask lets them: the server is another user.
    let file = tempfile::Builder::new()
        .prefix(".nixery-popcount-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory(path))?;
    let mut writer = BufWriter::new(file);
    write_json(&mut writer, table)?;
    let file: NamedTempFile = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn write_json(writer: &mut impl Write, table: &BTreeMap<&str, u64>) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *writer, table)?;
    writer.write_all(b"\n")?;
    writer.flush()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn writes_whole_files_that_others_can_read() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("table.json"), directory.path().join("link"));
        let table = BTreeMap::from([("glibc-2.40", 1), ("glibc", 2)]);
        Output::new(Some(&file)).unwrap().write(&table).unwrap();
        let text = "{\n  \"glibc\": 2,\n  \"glibc-2.40\": 1\n}\n";
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        // As any program makes it; a temporary file is its owner's alone otherwise.
        fs::write(directory.path().join("other"), "").unwrap();
        let mode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().permissions();
        assert_eq!(mode("table.json"), mode("other"));

        symlink(&file, &link).unwrap();
        Output::new(Some(&link)).unwrap().write(&BTreeMap::new()).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "{}\n");
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "nothing is left over");
    }

    #[test]
    fn says_early_what_can_not_be_written() {
        for path in ["/dev/null", "/"] {
            let error = Output::new(Some(Path::new(path))).unwrap_err();
            assert!(matches!(error, OutputError::NotRegular { .. }), "{path}: {error}");
        }
        let error = Output::new(Some(Path::new("/does/not/exist.json"))).unwrap_err();
        assert!(error.to_string().contains("/does/not/exist.json"), "{error}");
        assert_eq!(directory(Path::new("table.json")), Path::new("."));
    }
}
