//! Derived data under names, by itself. What it has to do with entries, imports, views,
//! restores and other stores is in `blobs_beside`.

use crate::battery::{Spec, case};
use crate::case::Case;
use crate::check::{About, Checked, Kind, check, equal, failed, refused};
use crate::contract::store;
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        blobs_are_as_the_capabilities_say,
        "all calls are unsupported where max-blob is 0, else none is"
    ),
    case!(needs Blobs, a_blob_comes_back, "read-blob returns the bytes that were written, again and again"),
    case!(needs Blobs, an_empty_blob_comes_back, "a blob of no bytes is there, and is not none"),
    case!(needs Blobs, a_blob_holds_any_bytes, "bytes of every value, in every place, come back as they are"),
    case!(needs Blobs, a_blob_of_max_blob_comes_back, "a blob of as many bytes as max-blob is written and read"),
    case!(needs Blobs, too_large_a_blob_is_refused, "one byte more than max-blob is invalid-argument, and changes nothing"),
    case!(needs Blobs, a_blob_is_replaced, "write-blob replaces all of what was there, by more or fewer bytes"),
    case!(needs Blobs, a_missing_blob_is_none, "read-blob is none where nothing was written, whatever is under similar names"),
    case!(needs Blobs, names_of_blobs_are_exact, "names of all allowed characters, up to 100, are told apart"),
    case!(needs Blobs, what_is_no_name_of_a_blob_is_refused, "other names are invalid-argument in all calls, and nothing is changed"),
    case!(needs Blobs, blobs_are_deleted, "delete-blobs deletes those that are named, and no other"),
    case!(needs Blobs, unknown_blobs_are_passed_over, "delete-blobs with missing names deletes the others, and is not an error"),
    case!(needs Blobs, a_deleted_blob_can_be_written_again, "a blob that was deleted is written as if it had not been there"),
    case!(needs Blobs, blobs_are_listed_by_bytes, "list-blobs has each name once, sorted by its bytes"),
    case!(needs Blobs, many_blobs_are_listed, "list-blobs lists 120 names, and delete-blobs deletes them at once"),
];

/// More is not tried, whatever a store claims.
const LARGEST: u32 = 1 << 20;

/// Fails unless every call is `unsupported`.
pub(super) fn all_unsupported(case: &mut Case) -> Checked {
    let name = case.blob("a");
    let kinds = &[Kind::Unsupported];
    let doing = |call: &str| format!("{call} of a store without blobs");
    refused(&doing("read-blob"), store::read_blob(&name), kinds)?;
    refused(&doing("write-blob"), store::write_blob(&name, b"a"), kinds)?;
    refused(&doing("delete-blobs"), store::delete_blobs(&[name]), kinds)?;
    refused(&doing("delete-blobs"), store::delete_blobs(&[]), kinds)?;
    refused(&doing("list-blobs"), store::list_blobs(), kinds)
}

fn blobs_are_as_the_capabilities_say(case: &mut Case) -> Checked {
    if case.capabilities.max_blob == 0 {
        return all_unsupported(case);
    }
    let name = case.blob("a");
    equal("list-blobs of a new case", case.own_blobs()?, [""; 0])?;
    case.write_blob(&name, b"a")?;
    case.has_blob("what was written", &name, Some(b"a"))?;
    equal("list-blobs", case.own_blobs()?, [name.clone()])?;
    case.delete_blobs(std::slice::from_ref(&name))?;
    case.has_blob("what was deleted", &name, None)
}

fn a_blob_comes_back(case: &mut Case) -> Checked {
    let (a, b) = (case.blob("a"), case.blob("b"));
    let (one, two) = (case.bytes(1, 1000), case.bytes(2, 3));
    case.write_blob(&a, &one)?;
    case.write_blob(&b, &two)?;
    for _ in 0..2 {
        case.has_blob("the first of two blobs", &a, Some(&one))?;
        case.has_blob("the second of two blobs", &b, Some(&two))?;
    }
    Ok(())
}

fn an_empty_blob_comes_back(case: &mut Case) -> Checked {
    let name = case.blob("a");
    case.write_blob(&name, &[])?;
    case.has_blob("a blob of no bytes", &name, Some(&[]))?;
    equal("list-blobs", case.own_blobs()?, [name])
}

fn a_blob_holds_any_bytes(case: &mut Case) -> Checked {
    let name = case.blob("a");
    let every: Vec<u8> = (0..=255).collect();
    let backwards: Vec<u8> = every.iter().rev().copied().collect();
    let values: [&[u8]; 9] = [
        &every,
        &backwards,
        b"\0",
        b"\0\0\0\0",
        b"a\0b",
        b"\xFF\xFE\xC0\x80 is no UTF-8",
        b" \t\r\n",
        b"line\r\nline\rline\n\x1A",
        b"'\\x00\\000%41\"",
    ];
    for value in values {
        case.write_blob(&name, value)?;
        case.has_blob("bytes of any value", &name, Some(value))?;
    }
    Ok(())
}

/// The most bytes that are tried.
fn most(case: &Case) -> usize {
    case.capabilities.max_blob.min(LARGEST) as usize
}

fn a_blob_of_max_blob_comes_back(case: &mut Case) -> Checked {
    let name = case.blob(&"x".repeat(25));
    let bytes = case.bytes(1, most(case));
    case.write_blob(&name, &bytes)?;
    case.has_blob("a blob of max-blob bytes", &name, Some(&bytes))?;
    // Bytes that need the most room where they are written as text.
    let bytes = vec![0xFF; most(case)];
    case.write_blob(&name, &bytes)?;
    case.has_blob("another blob of max-blob bytes", &name, Some(&bytes))
}

fn too_large_a_blob_is_refused(case: &mut Case) -> Checked {
    let (old, new) = (case.blob("old"), case.blob("new"));
    case.write_blob(&old, b"old")?;
    if case.capabilities.max_blob <= LARGEST {
        let bytes = vec![7; most(case) + 1];
        for name in [&old, &new] {
            refused(
                "write-blob of max-blob + 1 bytes",
                store::write_blob(name, &bytes),
                &[Kind::InvalidArgument],
            )?;
        }
    }
    case.has_blob("what was there stays", &old, Some(b"old"))?;
    case.has_blob("what was refused is not there", &new, None)?;
    equal("list-blobs", case.own_blobs()?, [old])
}

fn a_blob_is_replaced(case: &mut Case) -> Checked {
    let (name, other) = (case.blob("a"), case.blob("b"));
    case.write_blob(&other, b"other")?;
    for (n, count) in [10, 70_000, 3, 65_536, 0, 9].into_iter().enumerate() {
        let bytes = case.bytes(n as u64, count.min(most(case)));
        case.write_blob(&name, &bytes)?;
        case.has_blob("the blob is the last that was written", &name, Some(&bytes))?;
    }
    case.has_blob("another blob stays", &other, Some(b"other"))?;
    equal("list-blobs", case.own_blobs()?, [name, other])
}

fn a_missing_blob_is_none(case: &mut Case) -> Checked {
    let name = case.blob("a/b");
    case.has_blob("nothing was written", &name, None)?;
    case.write_blob(&name, b"x")?;
    for similar in ["a", "a/", "a/b/", "a/bb", "a/b.", "a.b", "/a/b", "b"] {
        let similar = case.blob(similar);
        case.has_blob("nothing was written there", &similar, None)
            .about(|| similar.clone())?;
    }
    Ok(())
}

fn names_of_blobs_are_exact(case: &mut Case) -> Checked {
    let longest = 100 - case.blob_prefix().len();
    let long = "9".repeat(longest);
    let other = format!("{}8", &long[1..]);
    let names = [
        "a",
        "a/",
        "a//",
        "a.",
        "a..",
        "a-",
        "aa",
        "..",
        "../a",
        "./",
        "-",
        "--",
        "0",
        "00",
        "07",
        "7",
        "1e3",
        "abcdefghijklmnopqrstuvwxyz",
        "0123456789-./",
        &long,
        &other,
        &long[1..],
    ];
    let names = names.map(|name| case.blob(name));
    for (n, name) in names.iter().enumerate() {
        case.write_blob(name, &case.bytes(n as u64, 20))?;
    }
    for (n, name) in names.iter().enumerate() {
        let bytes = case.bytes(n as u64, 20);
        case.has_blob("each name has its own bytes", name, Some(&bytes))
            .about(|| name.clone())?;
    }
    equal("how many are listed", case.own_blobs()?.len(), names.len())
}

fn what_is_no_name_of_a_blob_is_refused(case: &mut Case) -> Checked {
    let good = case.blob("a");
    case.write_blob(&good, b"good")?;
    let before = case.list_blobs()?;
    let long = format!("{good}{}", "x".repeat(101 - good.len()));
    let others = [
        "A", " ", "_", "*", "%", "?", ":", "\\", "'", "\0", "\n", "é", "ａ", "🦀",
    ];
    let mut wrong = vec![String::new(), long];
    wrong.extend(others.map(|text| format!("{good}{text}")));
    wrong.extend(others.map(str::to_owned));
    let kinds = &[Kind::InvalidArgument];
    for name in wrong {
        refused("read-blob", store::read_blob(&name), kinds)
            .and_then(|()| refused("write-blob", store::write_blob(&name, b"bad"), kinds))
            .and_then(|()| {
                let names = [good.clone(), name.clone()];
                refused("delete-blobs", store::delete_blobs(&names), kinds)
            })
            .about(|| format!("the name {name:?}"))?;
    }
    case.has_blob("what was there stays", &good, Some(b"good"))?;
    equal("list-blobs", case.list_blobs()?, before)
}

/// Writes blobs of these names, each with its name for bytes.
fn write(case: &mut Case, names: &[&str]) -> Checked<Vec<String>> {
    let mut written = Vec::with_capacity(names.len());
    for name in names {
        let name = case.blob(name);
        case.write_blob(&name, name.as_bytes())?;
        written.push(name);
    }
    Ok(written)
}

/// Fails unless these blobs are there, and none of the others that the case has named.
fn left(case: &Case, names: &[String]) -> Checked {
    for name in &case.blobs {
        let bytes = names.contains(name).then_some(name.as_bytes());
        case.has_blob("what is left", name, bytes)
            .about(|| name.clone())?;
    }
    equal("list-blobs", case.own_blobs()?, names)
}

fn blobs_are_deleted(case: &mut Case) -> Checked {
    let names = write(case, &["a", "a/b", "b", "c", "d"])?;
    case.delete_blobs(&[])?;
    left(case, &names)?;
    case.delete_blobs(&names[..1])?;
    left(case, &names[1..])?;
    case.delete_blobs(&[names[3].clone(), names[2].clone()])?;
    left(case, &[names[1].clone(), names[4].clone()])?;
    case.delete_blobs(&names)?;
    left(case, &[])
}

fn unknown_blobs_are_passed_over(case: &mut Case) -> Checked {
    let names = write(case, &["a", "b", "c"])?;
    let unknown = ["0", "a/", "z"].map(|name| case.blob(name));
    case.delete_blobs(&unknown)?;
    left(case, &names)?;
    let mixed = [&unknown[0], &names[0], &unknown[1], &names[2], &names[0]].map(String::clone);
    case.delete_blobs(&mixed)?;
    left(case, &names[1..2])?;
    case.delete_blobs(&mixed)?;
    left(case, &names[1..2])
}

fn a_deleted_blob_can_be_written_again(case: &mut Case) -> Checked {
    let name = case.blob("a");
    for bytes in [&b"first"[..], b"", b"second"] {
        case.write_blob(&name, bytes)?;
        case.has_blob("what was written", &name, Some(bytes))?;
        case.delete_blobs(std::slice::from_ref(&name))?;
        case.has_blob("what was deleted", &name, None)?;
        equal("list-blobs", case.own_blobs()?, [""; 0])?;
    }
    Ok(())
}

fn blobs_are_listed_by_bytes(case: &mut Case) -> Checked {
    let mut names = write(
        case,
        &[
            "z", "a", "b", "a/", "a-", "a.", "a0", "aa", "10", "9", "-", ".", "/", "m/10", "m/9",
        ],
    )?;
    // Again, in another order.
    write(case, &["b", "9", "z"])?;
    names.sort_unstable();
    equal(
        "list-blobs has what was written, by bytes",
        case.own_blobs()?,
        &names[..],
    )?;
    let all = case.list_blobs()?;
    let unsorted = all.windows(2).find(|two| two[0] >= two[1]);
    check(
        unsorted.is_none(),
        "list-blobs is sorted by bytes, and has each name once",
        || show::value(&unsorted),
    )
}

fn many_blobs_are_listed(case: &mut Case) -> Checked {
    let names: Vec<String> = (0..120).map(|n| format!("{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let names = write(case, &names)?;
    let listed = case.own_blobs()?;
    let at = show::first_difference(&names, &listed);
    if let Some(at) = at {
        return Err(failed(
            format!("list-blobs has all {} names", names.len()),
            format!(
                "it has {}, and {} in place of {} at position {at}",
                listed.len(),
                show::value(&listed.get(at)),
                show::value(&names.get(at))
            ),
        ));
    }
    case.delete_blobs(&names)?;
    equal(
        "list-blobs after all were deleted",
        case.own_blobs()?,
        [""; 0],
    )
}
