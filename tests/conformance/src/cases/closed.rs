//! Every operation on a store that is not open.

use crate::battery::{Spec, case};
use crate::case::{Case, START, any, key_of, reference, tagged};
use crate::check::{Checked, Kind, equal, refused};
use crate::contract::{Error, ImportMode, Touch, VectorQuery, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(closed reads_before_open_are_refused, "every reading operation is closed before open"),
    case!(closed writes_before_open_are_refused, "every writing operation is closed before open"),
    case!(closed changes_before_open_are_refused, "no change is read before open"),
    case!(closed searches_before_open_are_refused, "no vector is searched before open"),
    case!(closed snapshots_before_open_are_refused, "no snapshot or restore before open"),
    case!(closed blobs_before_open_are_refused, "no blob is read, written, deleted or listed before open"),
    case!(
        reads_after_close_are_refused,
        "every reading operation is closed after close"
    ),
    case!(
        writes_after_close_are_refused,
        "every writing operation is closed after close"
    ),
    case!(
        changes_after_close_are_refused,
        "no change is read after close"
    ),
    case!(
        searches_after_close_are_refused,
        "no vector is searched after close"
    ),
    case!(
        snapshots_after_close_are_refused,
        "no snapshot or restore after close"
    ),
    case!(
        blobs_after_close_are_refused,
        "no blob is read, written, deleted or listed after close"
    ),
    case!(
        closed_calls_leave_nothing,
        "what was written to a closed store is not there after open"
    ),
    case!(
        closed_calls_need_no_arguments,
        "empty lists are refused by a closed store too"
    ),
];

type Calls = Vec<(&'static str, Result<(), Error>)>;

macro_rules! calls {
    ($($name:literal => $call:expr),* $(,)?) => {
        vec![$(($name, $call.map(|_| ()))),*]
    };
}

fn reads(case: &mut Case) -> Calls {
    let space = case.space("a");
    let entry = case.entry(&space, 1);
    let key = case.key("k");
    calls![
        "get-by-hash" => store::get_by_hash(&[key_of(&entry)], true),
        "get-by-ids" => store::get_by_ids(&[1], true),
        "get-by-hash without vectors" => store::get_by_hash(&[key_of(&entry)], false),
        "get-by-ids without vectors" => store::get_by_ids(&[1], false),
        "select" => store::select(&any(), 0, 1),
        "select by tag" => store::select(&tagged(&["tag:0"]), 0, 1),
        "count of one namespace" => store::count(Some(&space)),
        "count" => store::count(None),
        "list-namespaces" => store::list_namespaces(None, 1),
        "count-by-namespace" => store::count_by_namespace(None, 1),
        "iter-lru-ids" => store::iter_lru_ids(1, None),
        "iter-since" => store::iter_since(0, 1),
        "iter-vectors" => store::iter_vectors(0, 1),
        "iter-stamps" => store::iter_stamps(0, 1),
        "get-namespace-quota" => store::get_namespace_quota(&space),
        "list-namespace-quotas" => store::list_namespace_quotas(),
        "read-version-counter" => store::read_version_counter(),
        "read-meta" => store::read_meta(&key),
        "read-meta of schema_version" => store::read_meta("schema_version"),
        "list-meta" => store::list_meta(),
        "integrity-check" => store::integrity_check(),
        "begin-view" => store::begin_view(),
        "end-view" => store::end_view(),
    ]
}

fn writes(case: &mut Case) -> Calls {
    let space = case.space("a");
    let entry = case.entry(&space, 1);
    let key = case.key("k");
    let touch = Touch {
        id: 1,
        hits: 0,
        last_accessed_at: 0,
    };
    calls![
        "insert" => store::insert(std::slice::from_ref(&entry)),
        "update-access" => store::update_access(&[touch]),
        "delete-by-id" => store::delete_by_id(u64::MAX),
        "delete-unchanged" => store::delete_unchanged(&[reference(&entry)]),
        "delete-expired" => store::delete_expired(START, Some(&space), 1),
        "clear-namespace" => store::clear_namespace(Some(&space)),
        "set-namespace-quota" => store::set_namespace_quota(&space, Some(1)),
        "set-namespace-quota to none" => store::set_namespace_quota(&space, None),
        "replace-meta" => store::replace_meta(&key, None, Some("v")),
        "begin-import" => store::begin_import(ImportMode::Merge),
        "write-import" => store::write_import(std::slice::from_ref(&entry)),
        "commit-import" => store::commit_import(&[(space, 1)], &[]),
        "end-import" => store::end_import(),
    ]
}

fn transfers() -> Calls {
    calls![
        "begin-snapshot" => store::begin_snapshot(),
        "read-snapshot" => store::read_snapshot(1),
        "end-snapshot" => store::end_snapshot(),
        "begin-restore" => store::begin_restore(),
        "write-restore" => store::write_restore(&[1]),
        "check-restore" => store::check_restore(),
        "read-restore" => store::read_restore(0, 1),
        "commit-restore" => store::commit_restore(false),
        "end-restore" => store::end_restore(),
    ]
}

fn changes() -> Calls {
    calls![
        "changes-since" => store::changes_since(0, 1),
        "changes-since the greatest version" => store::changes_since(u64::MAX, u32::MAX),
    ]
}

fn searches(case: &mut Case) -> Calls {
    let query = VectorQuery {
        namespace: case.space("a"),
        context: String::new(),
        tags: Vec::new(),
        fresh_at: None,
        vector: case.vector(1),
    };
    let empty = VectorQuery {
        vector: Vec::new(),
        ..query.clone()
    };
    calls![
        "nearest" => store::nearest(&query, 1),
        "nearest to a vector without values" => store::nearest(&empty, 0),
    ]
}

fn blobs(case: &mut Case) -> Calls {
    let name = case.blob("a");
    calls![
        "read-blob" => store::read_blob(&name),
        "write-blob" => store::write_blob(&name, b"a"),
        "delete-blobs" => store::delete_blobs(std::slice::from_ref(&name)),
        "delete-blobs of no names" => store::delete_blobs(&[]),
        "list-blobs" => store::list_blobs(),
    ]
}

fn all_closed(calls: Calls, when: &str) -> Checked {
    calls.into_iter().try_for_each(|(name, outcome)| {
        refused(&format!("{name} {when}"), outcome, &[Kind::Closed])
    })
}

/// A store that does not do such a thing at all may say so first.
fn closed_if(claimed: bool, calls: Calls, when: &str) -> Checked {
    let kinds: &[Kind] = match claimed {
        true => &[Kind::Closed],
        false => &[Kind::Closed, Kind::Unsupported],
    };
    calls
        .into_iter()
        .try_for_each(|(name, outcome)| refused(&format!("{name} {when}"), outcome, kinds))
}

fn reads_before_open_are_refused(case: &mut Case) -> Checked {
    all_closed(reads(case), "before open")
}

fn writes_before_open_are_refused(case: &mut Case) -> Checked {
    all_closed(writes(case), "before open")
}

fn changes_before_open_are_refused(case: &mut Case) -> Checked {
    closed_if(case.capabilities.max_changes > 0, changes(), "before open")
}

fn searches_before_open_are_refused(case: &mut Case) -> Checked {
    closed_if(case.capabilities.nearest, searches(case), "before open")
}

fn snapshots_before_open_are_refused(case: &mut Case) -> Checked {
    closed_if(case.capabilities.snapshot, transfers(), "before open")
}

fn blobs_before_open_are_refused(case: &mut Case) -> Checked {
    closed_if(case.capabilities.max_blob > 0, blobs(case), "before open")
}

fn reads_after_close_are_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    case.close()?;
    all_closed(reads(case), "after close")
}

fn writes_after_close_are_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    case.close()?;
    all_closed(writes(case), "after close")
}

fn changes_after_close_are_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    case.close()?;
    closed_if(case.capabilities.max_changes > 0, changes(), "after close")
}

fn searches_after_close_are_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    case.close()?;
    closed_if(case.capabilities.nearest, searches(case), "after close")
}

fn snapshots_after_close_are_refused(case: &mut Case) -> Checked {
    case.close()?;
    closed_if(case.capabilities.snapshot, transfers(), "after close")
}

fn blobs_after_close_are_refused(case: &mut Case) -> Checked {
    let claimed = case.capabilities.max_blob > 0;
    let name = case.blob("a");
    if claimed {
        case.write_blob(&name, b"before")?;
    }
    case.close()?;
    closed_if(claimed, blobs(case), "after close")?;
    if claimed {
        case.open()?;
        case.has_blob(
            "a call on a closed store changes nothing",
            &name,
            Some(b"before"),
        )?;
    }
    Ok(())
}

fn closed_calls_leave_nothing(case: &mut Case) -> Checked {
    let space = case.space("a");
    let key = case.key("k");
    case.quotas.insert(space.clone());
    let known = case.put(case.entry(&space, 2))?;
    let before = case.version()?;
    case.close()?;
    // That they are refused is another case's affair.
    let _ = store::delete_by_id(known.id);
    let _ = writes(case);
    case.open()?;
    case.holds("a call on a closed store deletes nothing", &known)?;
    let count = case.count(Some(&space))?;
    equal("the entries after calls on a closed store", count, 1)?;
    equal(
        "the quota after calls on a closed store",
        case.quota(&space)?,
        None,
    )?;
    equal(
        "the meta value after calls on a closed store",
        case.meta(&key)?,
        None,
    )?;
    case.moved(before, 0, "a call on a closed store")
}

fn closed_calls_need_no_arguments(case: &mut Case) -> Checked {
    case.close()?;
    let calls = calls![
        "get-by-hash of no keys" => store::get_by_hash(&[], true),
        "get-by-ids of no ids" => store::get_by_ids(&[], true),
        "insert of no entries" => store::insert(&[]),
        "update-access of no touches" => store::update_access(&[]),
        "delete-unchanged of no entries" => store::delete_unchanged(&[]),
        "iter-lru-ids of none" => store::iter_lru_ids(0, None),
        "iter-since with limit 0" => store::iter_since(0, 0),
        "iter-vectors with limit 0" => store::iter_vectors(0, 0),
        "write-import of no entries" => store::write_import(&[]),
        "commit-import of nothing" => store::commit_import(&[], &[]),
        "select with limit 0" => store::select(&any(), 0, 0),
        "iter-stamps with limit 0" => store::iter_stamps(0, 0),
        "iter-since after the last id" => store::iter_since(u64::MAX, 1),
        "delete-by-id of an id that never is" => store::delete_by_id(0),
    ];
    all_closed(calls, "after close")
}
