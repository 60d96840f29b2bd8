//! Contexts, tags and filters that are not valid: each is its typed error, and nothing changes.

use crate::bad_input::scene;
use mneme::{EntryFilter, GetRequest, PutRequest, SemanticCache};

mneme_tests::tests![
    bad_contexts_are_refused_everywhere,
    bad_tags_are_refused_everywhere,
    bad_filters_are_refused,
    labels_at_their_limits_are_taken,
];

const INVALID: &str = "invalid_argument";

/// What is asked and stored under a context or tags.
#[derive(Clone, Copy)]
struct Labels<'a> {
    context: &'a str,
    tags: &'a [String],
}

impl Labels<'_> {
    fn put(self) -> PutRequest {
        let put = PutRequest::new("new", "r").context(self.context);
        put.tags(self.tags)
    }

    fn get(self, query: &str) -> GetRequest {
        let get = GetRequest::new(query).context(self.context);
        get.tags(self.tags)
    }

    fn filter(self) -> EntryFilter {
        let filter = EntryFilter::new().context(self.context);
        filter.tags(self.tags)
    }

    /// Every call that takes them refuses them, and says why.
    fn are_refused(self, says: &[&str]) {
        let scene = scene();
        let refuses = |says: &[&str], call: &dyn Fn(&SemanticCache) -> mneme::Result<()>| {
            scene.refuses(call, INVALID, says);
        };
        refuses(says, &|cache| cache.put(self.put()).map(drop));
        let second = [says, &["request 1"]].concat();
        refuses(&second, &|cache| {
            let fine = PutRequest::new("fine", "r");
            cache.put_many(vec![fine, self.put()]).map(drop)
        });
        // Where the words are known too.
        for query in ["question", "new"] {
            refuses(says, &|cache| cache.get(self.get(query)).map(drop));
            refuses(says, &|cache| {
                cache.get(self.get(query).exact_only()).map(drop)
            });
            refuses(says, &|cache| cache.explain(self.get(query), 3).map(drop));
        }
        refuses(&second, &|cache| {
            let fine = GetRequest::new("question");
            cache.get_many(vec![fine, self.get("new")]).map(drop)
        });
        refuses(says, &|cache| {
            cache.list_entries(&self.filter(), 0, 9).map(drop)
        });
        for dry_run in [true, false] {
            refuses(says, &|cache| {
                cache.erase(&self.filter(), dry_run).map(drop)
            });
        }
    }
}

fn bad_contexts_are_refused_everywhere() {
    for (context, says) in [
        ("c".repeat(1025), "at most 1024 are allowed, so give a hash"),
        // 513 letters of two bytes each.
        ("ä".repeat(513), "1026 bytes"),
        ("c".repeat(1 << 20), "1048576 bytes"),
        ("a\0b".to_owned(), "U+0000"),
    ] {
        let labels = Labels {
            context: &context,
            tags: &[],
        };
        labels.are_refused(&["the context", says]);
        let scene = scene();
        scene.refuses(
            |cache| cache.delete_in_context("question", "default", &context),
            INVALID,
            &["the context", says],
        );
    }
}

fn bad_tags_are_refused_everywhere() {
    let numbered = |count: u32| (0..count).map(|n| n.to_string()).collect();
    let cases: [(Vec<String>, &str); 6] = [
        (numbered(33), "33 tags; at most 32"),
        (vec!["a".into(), String::new()], "a tag is empty"),
        (
            vec!["a".into(), "b".into(), "a".into()],
            "\"a\" comes twice",
        ),
        (vec!["t".repeat(129)], "129 bytes; at most 128"),
        (vec!["t".repeat(10 << 10)], "10240 bytes; at most 128"),
        (vec!["a".into(), "a\0".into()], "U+0000"),
    ];
    for (tags, says) in &cases {
        let labels = Labels { context: "", tags };
        labels.are_refused(&[says]);
    }
}

fn bad_filters_are_refused() {
    const BEYOND: u64 = 1 << 53;
    let scene = scene();
    let any = EntryFilter::new;
    for (filter, says) in [
        (any().namespace(""), "the namespace is empty"),
        (any().namespace("a\0"), "U+0000"),
        (any().namespace("n".repeat(1025)), "at most 1024"),
        (any().query("q".repeat(32_769)), "max-query-bytes"),
        (
            any().ids((1..=1025).collect::<Vec<_>>()),
            "1025 ids; at most 1024",
        ),
        (any().ids([1, BEYOND]), "an id is 9007199254740992"),
        (any().min_age(BEYOND), "min-age in seconds is"),
        (any().tag("a").max_age(u64::MAX), "max-age in seconds is"),
    ] {
        scene.refuses(|cache| cache.list_entries(&filter, 0, 9), INVALID, &[says]);
        for dry_run in [true, false] {
            scene.refuses(|cache| cache.erase(&filter, dry_run), INVALID, &[says]);
        }
    }
    for limit in [0, 1025, u32::MAX] {
        scene.refuses(
            |cache| cache.list_entries(&any(), 0, limit),
            INVALID,
            &["it must be 1 to 1024"],
        );
    }
    scene.refuses(
        |cache| cache.list_entries(&any(), BEYOND, 9),
        INVALID,
        &["after is"],
    );
    // What means all entries has to be said, and then alone.
    for filter in [any(), any().min_age(0), any().max_age(BEYOND - 1)] {
        scene.refuses(
            |cache| cache.erase(&filter, false),
            INVALID,
            &["all entries would be erased"],
        );
    }
    for filter in [
        EntryFilter::everything().tag("a"),
        EntryFilter::everything().context(""),
        EntryFilter::everything().ids([]),
    ] {
        scene.refuses(
            |cache| cache.erase(&filter, false),
            INVALID,
            &["leave one of them out"],
        );
    }
    // Filters that nothing meets are no error.
    for filter in [
        any().tag("none"),
        any().context("none"),
        any().namespace("none"),
        any().query("none"),
        any().ids([]),
        any().ids([99]),
        any().min_age(3600),
    ] {
        let page = scene.cache.list_entries(&filter, 0, 9).unwrap();
        assert_eq!((page.entries.len(), page.next), (0, None), "{filter:?}");
        let receipt = scene.cache.erase(&filter, false).unwrap();
        assert_eq!(receipt.ids, [0_u64; 0], "{filter:?}");
        assert_eq!(receipt.version_before, receipt.version_after, "{filter:?}");
    }
    mneme_tests::assert_answers(&scene.cache);
}

fn labels_at_their_limits_are_taken() {
    let scene = scene();
    let context = "c".repeat(1024);
    let tags: Vec<String> = (0..32).map(|n| format!("{n:0128}")).collect();
    let labels = Labels {
        context: &context,
        tags: &tags,
    };
    let id = scene.cache.put(labels.put()).unwrap();
    let hit = scene.cache.get(labels.get("new")).unwrap().hit().unwrap();
    assert_eq!(
        (hit.id, hit.context, hit.tags.len()),
        (id, context.clone(), 32)
    );
    assert_eq!(
        scene.cache.erase(&labels.filter(), false).unwrap().ids,
        [id]
    );
}
