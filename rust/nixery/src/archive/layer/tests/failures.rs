//! What can't be packed, and where it can't be written to.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;

/// Packs with a sink that does `write` at each write, on a pool that must be
/// able to pack something else afterwards.
fn pack_into(
    write: impl FnMut(&[u8]) -> io::Result<()>,
    cancelled: &AtomicBool,
) -> Result<Packed, PackError> {
    struct Sink<F>(F);
    impl<F: FnMut(&[u8]) -> io::Result<()>> Write for Sink<F> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            (self.0)(bytes).map(|()| bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (store, pool) = (Store::new(), pool(2));
    let paths = [store.add_large("large", 20 * BLOCK_SIZE)];
    let result = pack_layer(&pool, &paths, &mut Sink(write), cancelled);
    pack(&pool, &paths);
    result
}

#[test]
fn a_failing_sink_fails_the_layer() {
    let mut left = 3;
    let write = |_: &[u8]| {
        left -= 1;
        if left == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    };
    let result = pack_into(write, &AtomicBool::new(false));
    assert!(matches!(result, Err(PackError::Sink(e)) if e.kind() == io::ErrorKind::StorageFull));
    assert_eq!(left, 0, "it went on after the failure");
}

#[test]
fn cancelling_stops_soon() {
    let cancelled = AtomicBool::new(false);
    let mut writes = 0;
    let write = |_: &[u8]| {
        writes += 1;
        cancelled.store(true, Ordering::Relaxed);
        Ok(())
    };
    let result = pack_into(write, &cancelled);
    assert!(matches!(result, Err(PackError::Cancelled)));
    assert!(writes < 8, "{writes} blocks were still written");
}

/// Says that it was written to, then waits until the other end is dropped.
struct Hanging(mpsc::Receiver<()>, mpsc::Sender<()>);
impl Write for Hanging {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.1.send(());
        let _ = self.0.recv();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_hangs_does_not_keep_others_from_packing() {
    let (store, pool) = (Store::new(), pool(1));
    let paths = [store.add_large("large", 30 * BLOCK_SIZE)];
    let (release, hang) = mpsc::channel::<()>();
    let (started, start) = mpsc::channel();
    thread::scope(|scope| {
        let (pool, paths) = (&pool, &paths);
        let mut sink = Hanging(hang, started);
        let hanging =
            scope.spawn(move || pack_layer(pool, paths, &mut sink, &AtomicBool::new(false)));
        start.recv_timeout(Duration::from_mins(1)).unwrap();
        let expected = pack(pool, paths).0;
        drop(release);
        assert_eq!(hanging.join().unwrap().unwrap(), expected);
    });
}

#[test]
fn what_is_no_file_is_refused_with_its_path() {
    let store = Store::new();
    let path = store.add("sockets", &[("run/ok", "")]);
    let socket = path.as_path().join("run/socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let result = pack_layer(&pool(1), &[path], &mut io::sink(), &AtomicBool::new(false));
    assert!(matches!(&result, Err(PackError::Unsupported { path }) if *path == socket));

    let path = store.add("pipes", &[]);
    let pipe = path.as_path().join("pipe");
    let mkfifo = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(mkfifo.success());
    let result = pack_layer(&pool(1), &[path], &mut io::sink(), &AtomicBool::new(false));
    assert!(matches!(&result, Err(PackError::Unsupported { path }) if *path == pipe));
}

#[test]
fn a_missing_path_is_an_error_with_its_path() {
    let store = Store::new();
    let path = store.path("missing");
    let missing = path.as_path().to_owned();
    let result = pack_layer(&pool(1), &[path], &mut io::sink(), &AtomicBool::new(false));
    let Err(error @ PackError::Read { .. }) = result else { panic!("{result:?}") };
    assert_eq!(error.to_string(), format!("cannot read {}", missing.display()));
}

/// Nix has everything in its store be readable by all; what isn't was changed by hand.
#[test]
fn an_unreadable_file_is_an_error_with_its_path() {
    let store = Store::new();
    let path = store.add("unreadable", &[("a", ""), ("secret", ""), ("z", "")]);
    let file = path.as_path().join("secret");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(path.as_path().parent().unwrap(), fs::Permissions::from_mode(0o755))
        .unwrap();
    let pool = pool(1);
    let result = thread::scope(|scope| {
        let packing = scope.spawn(|| {
            // Root reads everything: this thread becomes somebody else.
            if rustix::process::geteuid().is_root() {
                rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
            }
            pack_layer(&pool, &[path], &mut io::sink(), &AtomicBool::new(false))
        });
        packing.join().unwrap()
    });
    let Err(PackError::Read { path, source }) = result else { panic!("{result:?}") };
    assert_eq!((path, source.kind()), (file, io::ErrorKind::PermissionDenied));
}

/// A device can be made by root only.
#[test]
fn a_device_is_refused_with_its_path() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let store = Store::new();
    let path = store.add("devices", &[]);
    let device = path.as_path().join("null");
    let status = std::process::Command::new("mknod").arg(&device).args(["c", "1", "3"]).status();
    assert!(status.unwrap().success());
    let result = pack_layer(&pool(1), &[path], &mut io::sink(), &AtomicBool::new(false));
    assert!(matches!(&result, Err(PackError::Unsupported { path }) if *path == device));
}
