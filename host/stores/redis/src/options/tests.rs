use proptest::prelude::*;

use super::*;

fn refusal(url: &str) -> String {
    match Options::parse(url) {
        Err(StoreError::InvalidArgument(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn host(name: &str, port: u16) -> Host {
    Host {
        name: name.to_owned(),
        port,
    }
}

fn one(name: &str, port: u16) -> Servers {
    Servers::One(host(name, port))
}

#[test]
fn a_url_names_nodes_or_sentinels() {
    let url = "redis+cluster://u:p@a,b:7000,[::1]:7001?prefix=p";
    let options = Options::parse(url).unwrap();
    let nodes = vec![host("a", 6379), host("b", 7000), host("::1", 7001)];
    assert!(options.servers == Servers::Cluster(nodes) && !options.tls);
    assert_eq!(options.user.as_deref(), Some("u"));
    assert_eq!(
        options.place(),
        "cluster a:6379,b:7000,[::1]:7001, prefix \"{p}\""
    );

    let url = "rediss+sentinel://:p@a,b:7000/3?master=m%20m&sentinel_user=s&sentinel_password=secret&certfile=c&keyfile=k";
    let options = Options::parse(url).unwrap();
    let sentinels = Sentinels {
        hosts: vec![host("a", 26379), host("b", 7000)],
        master: "m m".into(),
        user: Some("s".into()),
        password: Some("secret".into()),
    };
    assert!(options.servers == Servers::Sentinels(sentinels) && options.tls);
    assert_eq!(
        (options.database, options.password.as_deref()),
        (3, Some("p"))
    );
    assert_eq!(options.identity, Some(("c".into(), "k".into())));
    let shown = format!("{options:?}");
    assert!(
        shown.contains("of sentinels a:26379,b:7000") && !shown.contains("secret"),
        "{shown}"
    );
}

#[test]
fn in_a_cluster_all_keys_have_one_tag() {
    let keys = |scheme: &str, prefix: &str| {
        let mut options = Options::parse(&format!("{scheme}://h")).unwrap();
        options.prefix = prefix.to_owned();
        options.check_prefix().map(|()| options.keys().into_owned())
    };
    for (prefix, expected) in [
        ("mneme", "{mneme}"),
        ("{mneme}", "{mneme}"),
        ("a:{b}c", "a:{b}c"),
        ("a}", "{a}}"),
        ("a{b", "{a{b}"),
        ("{}", "{{}}"),
    ] {
        let found = keys("redis+cluster", prefix).unwrap();
        assert_eq!(found, expected);
        assert!(has_tag(&found));
        assert_eq!(keys("redis", prefix).unwrap(), prefix);
    }
    for bad in ["}", "}a"] {
        assert!(keys("redis+cluster", bad).is_err());
        assert_eq!(keys("redis", bad).unwrap(), bad);
    }
}

#[test]
fn a_url_says_where() {
    let options = Options::parse("redis://localhost").unwrap();
    assert!(options.servers == one("localhost", 6379) && !options.tls);
    assert_eq!((options.database, &*options.prefix), (0, "mneme"));
    assert_eq!((options.user, options.password), (None, None));
    assert_eq!(options.connect_timeout, Duration::from_secs(5));
    assert_eq!(options.call_timeout, Duration::from_secs(10));

    let url = "redis://us%40er:p%2Fss%3A%C3%BC@[::1]:7000/3?prefix=%7Ba%7D%3Ab&connect_timeout_ms=7&call_timeout_ms=8";
    let options = Options::parse(url).unwrap();
    assert!(options.servers == one("::1", 7000));
    assert_eq!((options.database, &*options.prefix), (3, "{a}:b"));
    assert_eq!(options.user.as_deref(), Some("us@er"));
    assert_eq!(options.password.as_deref(), Some("p/ss:ü"));
    assert_eq!(options.connect_timeout, Duration::from_millis(7));
    assert_eq!(options.call_timeout, Duration::from_millis(8));

    let options = Options::parse("rediss://:secret@h/?cafile=/a%20b.pem").unwrap();
    assert!(options.servers == one("h", 6379) && options.tls);
    assert_eq!(options.cafile, Some("/a b.pem".into()));
    assert_eq!(
        (options.user, options.password.as_deref()),
        (None, Some("secret"))
    );
}

#[test]
fn no_error_repeats_the_password() {
    let refused = [
        ("redis://u:secret@h:port", "malformed"),
        ("redis://u:secret@h:70000", "malformed"),
        ("redis://u:sec/secret@h", "malformed"),
        ("redis://:secret@", "malformed"),
        ("mysql://u:secret@h", "begins with redis://"),
        ("redis://u:secret@h,i", "redis+cluster://"),
        ("redis+cluster://u:secret@h,", "malformed"),
        ("redis+cluster://u:secret@h,i:x", "malformed"),
        ("redis+cluster://u:secret@h/1", "database 0 only"),
        ("redis+cluster://u:secret@h?master=m", "not known"),
        ("redis+sentinel://u:secret@h", "no master"),
        ("redis+sentinel://h?master=", "no master"),
        (
            "redis+sentinel://h?master=m&sentinel_user=secret",
            "no sentinel_password",
        ),
        ("rediss://u:secret@h?certfile=x", "give both"),
        ("redis://u:secret@h?certfile=x&keyfile=y", "write rediss"),
        ("redis://u:secret@h/x", "a number for the database"),
        ("redis://u:secret@h/-1", "a number from 0"),
        ("redis://u:secret@0.0.0.0", "names no host"),
        ("redis://u:secret@h/0#insecure", "after #"),
        ("redis://secret@h", "no password"),
        (
            "redis://u:secret@h?secret=1",
            "prefix, cafile, certfile, keyfile, connect_timeout_ms, call_timeout_ms",
        ),
        ("redis://u:secret@h?cafile=x", "write rediss"),
        ("redis://u:secret@h?prefix=a&prefix=secret", "prefix twice"),
        (
            "redis://u:secret@h?prefix=",
            "prefix of a Redis store is empty",
        ),
        ("redis://u:secret@h?call_timeout_ms=0", "from 1"),
        ("redis://u:secret@h?connect_timeout_ms=1s", "from 1"),
        ("secret", "malformed"),
        ("", "malformed"),
    ];
    for (url, expected) in refused {
        let text = refusal(url);
        assert!(text.contains(expected), "{url}: {text}");
        assert!(!text.contains("secret"), "{text}");
    }
    let options = Options::parse("redis://u:secret@h:1/2?prefix=a").unwrap();
    let shown = format!("{options:?}");
    assert!(
        shown.contains("h:1/2, prefix \\\"a\\\"") && !shown.contains("secret"),
        "{shown}"
    );
}

/// The keys of a cache, in the namespace `n`.
fn keys(prefix: &str, n: &str) -> Vec<String> {
    let fixed = [
        "meta",
        "by_id",
        "by_ttl",
        "version",
        "next_id",
        "namespaces",
        "expiring",
        "by_tag",
        "tagged",
        "changes",
        "blobs",
        "incarnation",
    ];
    let fixed = fixed.iter().map(|key| format!("{prefix}:{key}"));
    let families = FAMILIES
        .iter()
        .map(|family| format!("{prefix}:{family}:{n}"));
    fixed.chain(families).collect()
}

proptest! {
    #[test]
    fn no_two_accepted_prefixes_share_a_key(
        one in "(a|:|entry|lru|quota|hash|meta){1,5}",
        more in "(a|:|entry|lru|quota|hash|meta){1,5}",
        n in "(a|:|entry|lru|quota|meta|version){0,4}",
    ) {
        let two = format!("{one}{more}");
        if check_prefix(&one).is_ok() && check_prefix(&two).is_ok() {
            let inner = two.strip_prefix(&one).unwrap();
            // The namespace that would reach furthest into the other's keys.
            let names = [n.clone(), inner.trim_start_matches(':').to_owned()];
            for name in names {
                for key in keys(&two, &n) {
                    prop_assert!(!keys(&one, &name).contains(&key), "{one:?} {two:?} {key:?}");
                    let owned = FAMILIES.iter().any(|f| key.starts_with(&format!("{one}:{f}:")));
                    prop_assert!(!owned, "{one:?} owns {key:?}");
                }
            }
        }
    }
}

#[test]
fn prefixes_that_reach_into_others_are_refused() {
    for good in [
        "mneme",
        "a:b",
        "{tag}",
        "{a}:b",
        "entry",
        "a:entries",
        "a\"'\\",
        "a\0b",
        "ü|",
        " ",
        "a:meta",
        ":",
    ] {
        assert!(check_prefix(good).is_ok(), "{good:?}");
    }
    for bad in [
        "",
        "a:entry",
        "a:lru:b",
        "a:b:quota",
        ":hash",
        "mneme:quota:x:y",
    ] {
        assert!(check_prefix(bad).is_err(), "{bad:?}");
    }
}
