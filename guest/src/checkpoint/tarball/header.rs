//! Tar headers. They are checked here, because the crate `tar` accepts numbers that overflow.

use tar::{EntryType, Header};

/// Bytes of a block, the unit of a tar file.
pub const BLOCK: usize = 512;
/// The most bytes of a name without a prefix.
const MAX_NAME: usize = 100;

/// How many zeros follow content of `size` bytes.
pub fn padding(size: u64) -> usize {
    size.next_multiple_of(BLOCK as u64).wrapping_sub(size) as usize
}

/// The header of a regular file.
pub fn encode(name: &str, size: u64, mtime: u64) -> Result<Header, String> {
    check_name(name)?;
    if size > MAX_NUMBER {
        return Err(format!("{size} bytes are too many"));
    }
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_cksum();
    Ok(header)
}

/// The content of a header.
pub struct Parsed {
    /// The name with its prefix, unchecked, and lossy if it is not UTF-8.
    pub name: String,
    /// At most [`MAX_NUMBER`].
    pub size: u64,
    /// What the header describes.
    pub kind: Kind,
}

/// What a header describes.
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Records about the next member.
    Extended,
    /// Records about all members that follow.
    Global,
    /// Anything else, with the reason why it is refused.
    Other(String),
}

/// Reads a header that is not zeros.
pub fn parse(block: &[u8; BLOCK]) -> Result<Parsed, String> {
    let mut header = Header::new_old();
    *header.as_mut_bytes() = *block;
    let old = header.as_old();
    let expected = number(&old.cksum).map_err(|reason| format!("its checksum {reason}"))?;
    // The checksum's own field counts as spaces.
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    let actual = sum(block) - sum(&old.cksum) + old.cksum.len() as u64 * u64::from(b' ');
    if expected != actual {
        return Err(format!(
            "this is not a tar header, or a damaged one: its checksum is {expected} instead of {actual}"
        ));
    }
    let mut raw = Vec::new();
    if let Some(ustar) = header.as_ustar() {
        raw.extend_from_slice(text(&ustar.prefix)?);
        if !raw.is_empty() {
            raw.push(b'/');
        }
    }
    raw.extend_from_slice(text(&old.name)?);
    let name = String::from_utf8_lossy(&raw).into_owned();
    let about = |reason: &str| format!("member {name:?}: {reason}");
    let size = number(&old.size).map_err(|reason| about(&format!("its size {reason}")))?;
    let kind = match header.entry_type() {
        EntryType::XHeader => Kind::Extended,
        EntryType::XGlobalHeader => Kind::Global,
        EntryType::Regular | EntryType::Directory if std::str::from_utf8(&raw).is_err() => {
            Kind::Other("its name is not UTF-8".into())
        }
        EntryType::Regular => Kind::File,
        EntryType::Directory => Kind::Directory,
        other => Kind::Other(format!(
            "it is {} (type {:?}), but only regular files belong into a checkpoint",
            describe(other),
            char::from(other.as_byte())
        )),
    };
    Ok(Parsed { name, size, kind })
}

fn describe(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a fifo",
        EntryType::Continuous => "a contiguous file",
        EntryType::GNUSparse => "a sparse file",
        EntryType::GNULongName | EntryType::GNULongLink => "a GNU long name",
        _ => "of an unknown kind",
    }
}

/// A field up to its first NUL. Refuses bytes after it, which would be hidden.
fn text(field: &[u8]) -> Result<&[u8], String> {
    let end = field
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(field.len());
    let (text, rest) = field.split_at(end);
    if rest.iter().any(|&byte| byte != 0) {
        let shown = String::from_utf8_lossy(text);
        return Err(format!("member {shown:?}: its name contains NUL"));
    }
    Ok(text)
}

/// Refuses names that are dangerous to unpack.
pub fn check_name(name: &str) -> Result<(), String> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.len() > MAX_NAME {
        "is longer than 100 bytes"
    } else if name.starts_with('/') {
        "is an absolute path"
    } else if name.ends_with('/') {
        "is that of a directory"
    } else if name.split('/').any(|part| part == "..") {
        "contains `..`"
    } else if name.contains('\\') {
        "contains a backslash"
    } else if name.contains(char::is_control) {
        "contains a control character"
    } else {
        return Ok(());
    };
    Err(format!("its name {reason}"))
}

/// The greatest number. It leaves room for the padding, and for signed arithmetic elsewhere.
const MAX_NUMBER: u64 = i64::MAX as u64 - BLOCK as u64;

/// A number in octal digits, with NULs and spaces around them, or in GNU's base 256.
fn number(field: &[u8]) -> Result<u64, String> {
    let value = match field {
        [0x80, high @ .., a, b, c, d, e, f, g, h] if high.iter().all(|&byte| byte == 0) => {
            Some(u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        [0x80, ..] => None,
        [0xc0..=0xff, ..] => return Err("is negative".into()),
        [0x81..=0xbf, ..] => None,
        _ => {
            let digits = field.trim_ascii_start();
            let end = digits
                .iter()
                .position(|byte| !byte.is_ascii_digit())
                .unwrap_or(digits.len());
            let (digits, rest) = digits.split_at(end);
            let blank = rest.iter().all(|byte| [0, b' '].contains(byte));
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            match u64::from_str_radix(digits, 8) {
                Ok(value) if blank => Some(value),
                _ => {
                    let shown = field.escape_ascii();
                    return Err(format!("is not an octal number: \"{shown}\""));
                }
            }
        }
    };
    value
        .filter(|&value| value <= MAX_NUMBER)
        .ok_or_else(|| "is too large".into())
}

/// Records that do not matter here. Vendors' own records have a dot in their keys.
const HARMLESS: [&str; 10] = [
    "atime",
    "charset",
    "comment",
    "ctime",
    "gid",
    "gname",
    "hdrcharset",
    "mtime",
    "uid",
    "uname",
];

/// Vendors' records that turn a member into another file.
const HARMFUL: [&str; 4] = [
    "GNU.sparse.",
    "LIBARCHIVE.symlinktype",
    "SCHILY.filetype",
    "SCHILY.realsize",
];

/// Checks the records of an extended header. The outer error is for damaged content, the inner
/// one for a record that would change the member.
pub fn records(mut content: &[u8]) -> Result<Result<(), String>, String> {
    let mut harmless = Ok(());
    while !content.is_empty() {
        let (key, rest) = record(content).ok_or("an extended header is damaged")?;
        content = rest;
        let vendor = key.contains('.') && !HARMFUL.iter().any(|start| key.starts_with(start));
        if !vendor && !HARMLESS.contains(&key) {
            harmless = Err(format!(
                "its extended header sets {key:?}, which is refused: name, size and kind must stand in the header itself"
            ));
        }
    }
    Ok(harmless)
}

/// The key of the first record, `LENGTH KEY=VALUE\n`, and the records after it.
fn record(content: &[u8]) -> Option<(&str, &[u8])> {
    let space = content.iter().take(8).position(|&byte| byte == b' ')?;
    let digits = std::str::from_utf8(&content[..space]).ok()?;
    // `parse` takes a sign.
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (record, rest) = content.split_at_checked(digits.parse().ok()?)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let key = std::str::from_utf8(&body[..equals]).ok()?;
    (!key.is_empty()).then_some((key, rest))
}
