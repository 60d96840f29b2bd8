//! Headers of other writers, and hostile ones.

use super::*;

#[test]
fn only_files_and_directories_are_members() {
    for (kind, what) in [
        (b'1', "a hard link"),
        (b'2', "a symbolic link"),
        (b'3', "a device"),
        (b'4', "a device"),
        (b'6', "a fifo"),
        (b'7', "a contiguous file"),
        (b'S', "a sparse file"),
        (b'L', "a GNU long name"),
        (b'K', "a GNU long name"),
        (b'V', "of an unknown kind"),
        (b'Z', "of an unknown kind"),
    ] {
        let message = reason(whole(&[member("a", b'0', b""), member("store", kind, b"")]));
        assert!(message.starts_with("member \"store\": "), "{message}");
        assert!(message.contains(what), "{message}");
        assert!(message.contains(&format!("{:?}", char::from(kind))));
    }
    let message = reason(whole(&[member("store/", b'5', b"content")]));
    assert!(message.contains("directory"), "{message}");
}

#[test]
fn no_more_than_a_thousand_directories_and_global_headers_are_passed_over() {
    for (kind, name) in [(b'5', "a/"), (b'g', "a")] {
        let parts = |number| vec![member(name, kind, b""); number];
        assert_eq!(whole(&parts(1000)), Ok(vec![]));
        let message = reason(whole(&parts(1001)));
        assert!(message.contains("more than 1000 directories"), "{message}");
        assert!(message.starts_with("member \"a"), "{message}");
    }
}

#[test]
fn names_are_no_paths_elsewhere() {
    for (name, what) in [
        (&b""[..], "empty"),
        (b"/etc/passwd", "absolute"),
        (b"../store", "`..`"),
        (b"a/../store", "`..`"),
        (b"a/..", "`..`"),
        (b"a\\b", "backslash"),
        (b"a\nb", "control"),
        (b"a\x7fb", "control"),
        (b"a\xc2\x85b", "control"),
        (b"a\0b", "NUL"),
        (b"a\xff", "UTF-8"),
        (b"store/", "directory"),
    ] {
        let tar = [header(name, b'0', 0, |_| {}), vec![0; 2 * BLOCK]].concat();
        let message = reason(read(&tar));
        assert!(
            message.starts_with("member \"") || what == "NUL",
            "{message}"
        );
        assert!(message.contains(what), "{message}");
    }
    for name in ["/etc/", "../", "a\\b/"] {
        reason(whole(&[member(name, b'5', b"")]));
    }
    for name in ["..a", "a..b/c", "entries/00000001.jsonl", "größe", "-"] {
        let read = whole(&[member(name, b'0', b"x")]).unwrap();
        assert_eq!(read, [file(name, b"x")]);
    }
}

#[test]
fn prefixes_belong_to_names() {
    let prefixed = |prefix: &[u8], name: &[u8]| {
        let header = header(name, b'0', 0, |header| {
            if let Some(ustar) = header.as_ustar_mut() {
                ustar.prefix[..prefix.len()].copy_from_slice(prefix);
            }
        });
        whole(&[header])
    };
    assert_eq!(
        prefixed(b"vectors", b"1.f32"),
        Ok(vec![file("vectors/1.f32", b"")])
    );
    assert!(reason(prefixed(b"..", b"store")).contains("`..`"));
    assert!(reason(prefixed(&[b'p'; 60], &[b'n'; 40])).contains("100 bytes"));
    // GNU's headers have other things there.
    let gnu = header(b"store", b'0', 0, |header| {
        *header = Header::new_gnu();
        header.as_old_mut().name[..5].copy_from_slice(b"store");
        header.set_entry_type(EntryType::Regular);
        header.set_size(0);
        if let Some(gnu) = header.as_gnu_mut() {
            gnu.set_atime(1);
        }
    });
    assert_eq!(whole(&[gnu]), Ok(vec![file("store", b"")]));
}

#[test]
fn sizes_are_octal_or_base_256_and_bounded() {
    let sized = |field: &[u8; 12]| {
        let header = header(b"store", b'0', 0, |header| {
            header.as_old_mut().size = *field
        });
        let tar = [&header[..], b"abc", &[0; 509], &[0; 2 * BLOCK]].concat();
        read(&tar)
    };
    for field in [
        b"00000000003\0",
        b"          3 ",
        b"000000000003",
        b"3\0\0\0\0\0\0\0\0\0\0\0",
        b"\x80\0\0\0\0\0\0\0\0\0\0\x03",
    ] {
        assert_eq!(sized(field), Ok(vec![file("store", b"abc")]), "{field:?}");
    }
    for (field, what) in [
        (b"\0\0\0\0\0\0\0\0\0\0\0\0", "octal"),
        (b"            ", "octal"),
        (b"00000000008\0", "octal"),
        (b"-0000000003\0", "octal"),
        (b"+0000000003\0", "octal"),
        (b"3 3\0\0\0\0\0\0\0\0\0", "octal"),
        (b"0x000000003\0", "octal"),
        (
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfd",
            "negative",
        ),
        (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", "too large"),
        (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", "too large"),
        (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", "too large"),
        (b"\x81\0\0\0\0\0\0\0\0\0\0\0", "too large"),
    ] {
        let message = reason(sized(field));
        assert!(message.contains("\"store\""), "{message}");
        assert!(message.contains(what), "{field:?}: {message}");
    }
}

#[test]
fn sizes_past_8_gib_are_written_in_base_256() {
    for size in [8 << 30, (8 << 30) - 1, 1 << 40] {
        let header = header::encode("store", size, 0).unwrap();
        let parsed = header::parse(header.as_bytes()).unwrap();
        assert_eq!((parsed.name.as_str(), parsed.size), ("store", size));
    }
    assert!(header::encode("store", u64::MAX, 0).is_err());
}

#[test]
fn checksums_are_compared() {
    let tar = [member("store", b'0', b"abc"), vec![0; 2 * BLOCK]].concat();
    for at in [0, 110, 130, 148, 156, 260, 511] {
        let mut damaged = tar.clone();
        damaged[at] ^= 1;
        let message = reason(read(&damaged));
        assert!(message.contains("checksum"), "{at}: {message}");
    }
    assert!(reason(read(&[b'x'; 2048])).starts_with("the first header: its checksum"));
}

/// An extended header as Python's `tarfile` lays it out.
fn extended(kind: u8, records: &[u8]) -> Vec<u8> {
    member("././@PaxHeader", kind, records)
}

#[test]
fn extended_headers_that_change_nothing_are_accepted() {
    let read = whole(&[
        extended(b'g', b"18 comment=global\n"),
        extended(b'x', b"28 mtime=1753707600.9123456\n"),
        member("manifest.json", b'0', b"{}"),
        extended(
            b'x',
            b"11 uname=a\n11 gname=b\n12 uid=9999\n9 gid=12\n20 comment=two\nline\n33 LIBARCHIVE.creationtime=17000\n",
        ),
        member("store", b'0', b"abc"),
        extended(b'x', b""),
        member("dir/", b'5', b""),
    ]);
    assert_eq!(
        read.unwrap(),
        [file("manifest.json", b"{}"), file("store", b"abc")]
    );
}

#[test]
fn extended_headers_that_change_a_member_are_refused() {
    for key in [
        "path",
        "linkpath",
        "size",
        "unknown",
        "GNU.sparse.major",
        "GNU.sparse.size",
        "SCHILY.realsize",
        "SCHILY.filetype",
    ] {
        // The length counts its own two digits.
        let record = format!("{} {key}=1\n", key.len() + 6);
        for records in [record.clone(), format!("{record}11 mtime=1\n")] {
            let message = reason(whole(&[
                extended(b'x', records.as_bytes()),
                member("store", b'0', b"abc"),
            ]));
            assert!(message.starts_with("member \"store\": "), "{message}");
            assert!(message.contains(&format!("{key:?}")), "{message}");
        }
        let message = reason(whole(&[
            member("a", b'0', b""),
            extended(b'g', record.as_bytes()),
        ]));
        assert!(message.starts_with("the header after member \"a\": "));
        assert!(message.contains(&format!("{key:?}")), "{message}");
    }
}

#[test]
fn damaged_extended_headers_are_refused() {
    for records in [
        &b"mtime=1\n"[..],
        b"12 mtime=1\n",
        b"10 mtime=1\n",
        b"11 mtime=1 ",
        b"11 mtime12\n",
        b"6 =12\n",
        b"+12 mtime=1\n",
        b"0 a=b\n",
        b"2 a=b\n",
        b"99999999999999999999 a=b\n",
        b"11 mtime=1\n\n",
        b"7 \xff=12\n",
    ] {
        let parts = [extended(b'x', records), member("store", b'0', b"")];
        let message = reason(whole(&parts));
        assert!(message.contains("damaged"), "{records:?}: {message}");
    }
    let comment = [b"70000 comment=", &[b'x'; 69_985][..], b"\n"].concat();
    assert_eq!(comment.len(), 70_000);
    let message = reason(whole(&[extended(b'x', &comment)]));
    assert!(
        message.contains("70000 bytes and may have 65536"),
        "{message}"
    );
    let lone = extended(b'x', b"11 mtime=1\n");
    assert!(reason(whole(std::slice::from_ref(&lone))).contains("no member"));
    assert!(reason(whole(&[lone.clone(), lone])).contains("two extended"));
}
