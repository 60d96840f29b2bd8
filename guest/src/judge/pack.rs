//! Packing the files of a language when this is compiled: without comments, and with a byte for the
//! name of a class. A class that has no name here does not compile.

use super::class;

/// What stands between two files.
pub const END_OF_FILE: u8 = 0;
/// The byte of the first class; the others follow.
pub const FIRST_CLASS: u8 = b'0';

/// The most bytes of all files.
const MOST: usize = 1 << 16;

/// Packed files, at the front of a buffer.
pub struct Packed {
    /// The buffer.
    pub bytes: [u8; MOST],
    /// How many bytes are used.
    pub len: usize,
}

/// Packs files; lines of the first one begin with the names of classes.
pub const fn pack(files: &[&str]) -> Packed {
    let mut packed = Packed {
        bytes: [END_OF_FILE; MOST],
        len: 0,
    };
    let mut file = 0;
    while file < files.len() {
        let text = files[file].as_bytes();
        let mut at = 0;
        while at < text.len() {
            let mut end = at;
            while end < text.len() && text[end] != b'\n' {
                end += 1;
            }
            if end > at && text[at] != b'#' {
                if file == 0 {
                    let name = find(text, at, b':');
                    packed.bytes[packed.len] = FIRST_CLASS + place(text, at, name);
                    packed.len += 1;
                    at = name + 2;
                }
                pack_line(&mut packed, text, at, end);
            }
            at = end + 1;
        }
        packed.bytes[packed.len] = END_OF_FILE;
        packed.len += 1;
        file += 1;
    }
    packed
}

/// A line without the spaces around commas and `<>`, of which `<` is left.
const fn pack_line(packed: &mut Packed, text: &[u8], start: usize, end: usize) {
    let mut at = start;
    while at < end {
        let byte = text[at];
        let is_apart =
            byte == b' ' && (text[at - 1] == b',' || text[at - 1] == b'>' || text[at + 1] == b'<');
        if !is_apart && byte != b'>' {
            packed.bytes[packed.len] = byte;
            packed.len += 1;
        }
        at += 1;
    }
    packed.bytes[packed.len] = b'\n';
    packed.len += 1;
}

/// Where a byte is.
const fn find(text: &[u8], from: usize, byte: u8) -> usize {
    let mut at = from;
    while text[at] != byte {
        at += 1;
    }
    at
}

/// The place of a class among the names.
const fn place(text: &[u8], start: usize, end: usize) -> u8 {
    let mut place = 0;
    while place < class::NAMES.len() {
        let name = class::NAMES[place].as_bytes();
        let mut same = 0;
        while same < name.len() && start + same < end && name[same] == text[start + same] {
            same += 1;
        }
        if same == name.len() && start + same == end {
            return place as u8;
        }
        place += 1;
    }
    panic!("a class of words.txt is not known");
}
