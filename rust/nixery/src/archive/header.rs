//! The 512-byte header blocks of GNU tar archives.
//!
//! GNU's form rather than POSIX pax, because its records for long names hold
//! any bytes, where pax requires UTF-8. Source: the GNU tar manual, "Basic Tar
//! Format".

/// Size of a header, and the unit in which an archive grows.
pub(super) const UNIT: usize = 512;

/// Time stamp of every entry, in seconds since 1970: the one that Nix gives to
/// everything in its store.
const MTIME: u64 = 1;

/// Longest name or link target that fits in a header, in bytes.
const NAME_LENGTH: usize = 100;

/// Kind of an entry: its type flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    File = b'0',
    Symlink = b'2',
    Directory = b'5',
    /// The next entry's link target, when it is too long for its header.
    LongTarget = b'K',
    /// The next entry's name, when it is too long for its header.
    LongName = b'L',
}

/// Whether `name` needs a record of its own in front of its header.
pub(super) fn is_long(name: &[u8]) -> bool {
    name.len() > NAME_LENGTH
}

/// The header of an entry of `size` bytes, owned by user and group 0. Names
/// and targets are cut to what fits.
pub(super) fn header(kind: Kind, name: &[u8], target: &[u8], mode: u32, size: u64) -> [u8; UNIT] {
    let mut block = [0; UNIT];
    put(&mut block[0..100], name);
    octal(&mut block[100..108], (mode & 0o7777).into());
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    number(&mut block[124..136], size);
    octal(&mut block[136..148], MTIME);
    block[148..156].fill(b' ');
    block[156] = kind as u8;
    put(&mut block[157..257], target);
    block[257..265].copy_from_slice(b"ustar  \0");
    // The owner's and group's names stay empty, so that only the numbers count.
    // The sum is over the whole block with the field itself as spaces; its
    // eighth byte stays one.
    let sum: u64 = block.iter().copied().map(u64::from).sum();
    octal(&mut block[148..155], sum);
    block
}

/// As much of `text` as `field` holds.
fn put(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// `value` in octal digits that fill `field` up to a closing NUL.
fn octal(field: &mut [u8], mut value: u64) {
    let Some((end, digits)) = field.split_last_mut() else { return };
    *end = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

/// `value` in octal, or from 8 GiB on in GNU's base 256: big-endian, with the
/// first bit set.
fn number(field: &mut [u8], value: u64) {
    if value < 1 << 33 {
        return octal(field, value);
    }
    field.fill(0);
    field[0] = 0x80;
    let start = field.len() - 8;
    field[start..].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &[u8; UNIT]) -> &tar::Header {
        tar::Header::from_byte_slice(block)
    }

    #[test]
    fn another_implementation_reads_every_field() {
        let block = header(Kind::Symlink, b"bin/sh", b"/nix/store/x/bin/bash", 0o10_4755, 0);
        let header = read(&block);
        assert_eq!(header.path_bytes(), &b"bin/sh"[..]);
        assert_eq!(header.link_name_bytes().unwrap(), &b"/nix/store/x/bin/bash"[..]);
        assert_eq!(header.mode().unwrap(), 0o4755);
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), 1);
        assert_eq!(header.entry_type(), tar::EntryType::Symlink);
        assert!(header.as_gnu().is_some());
        let sum = block[..148].iter().chain(&[b' '; 8]).chain(&block[156..]);
        assert_eq!(header.cksum().unwrap(), sum.map(|&byte| u32::from(byte)).sum::<u32>());
    }

    #[test]
    fn sizes_from_8_gib_on_are_in_base_256() {
        for size in [0, 1, (1 << 33) - 1, 1 << 33, (1 << 33) + 12_345, 1 << 50] {
            let block = header(Kind::File, b"large", b"", 0o444, size);
            assert_eq!(read(&block).entry_size().unwrap(), size);
        }
    }

    #[test]
    fn a_name_may_fill_its_field() {
        let name = [b'n'; 100];
        assert!(!is_long(&name));
        assert!(is_long(&[b'n'; 101]));
        assert_eq!(read(&header(Kind::File, &name, b"", 0o444, 0)).path_bytes(), &name[..]);
    }
}
