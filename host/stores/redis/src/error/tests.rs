use super::*;

/// What becomes of a line that the server answers with.
fn answered(line: &str) -> StoreError {
    let answer = redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap();
    let error = answer.extract_error().unwrap_err();
    Fault::refused(error).at("h:1/0, prefix \"p\"", "insert")
}

#[test]
fn refusals_say_what_to_do_and_whether_again() {
    let lines = [
        (
            "-LOADING Redis is loading the dataset in memory",
            true,
            "reads its data",
        ),
        (
            "-BUSY Redis is busy running a script.",
            true,
            "keeps the server busy",
        ),
        (
            "-READONLY You can't write against a read only replica.",
            true,
            "is a replica",
        ),
        (
            "-MASTERDOWN Link with MASTER is down",
            true,
            "lost its primary",
        ),
        ("-CLUSTERDOWN Hash slot not served", true, "lacks nodes"),
        (
            "-ERR Script attempted to execute a command while the cluster is down script: f00, on @user_script:3.",
            true,
            "lacks nodes",
        ),
        (
            "-TRYAGAIN Multiple keys request during rehashing of slot",
            true,
            "moves these keys",
        ),
        (
            "-NOREPLICAS Not enough good replicas to write.",
            true,
            "too few replicas",
        ),
        ("-MOVED 3999 10.0.0.1:6381", false, "redis+cluster://"),
        (
            "-ERR MNEME-MOVES script: f00, on @user_script:3.",
            true,
            "moves these keys",
        ),
        (
            "-CROSSSLOT Keys in request don't hash to the same slot",
            false,
            "hash tag",
        ),
        (
            "-ERR Script attempted to access a non local key in a cluster node script: f00, on @user_script:3.",
            false,
            "hash tag",
        ),
        (
            "-OOM command not allowed when used memory > 'maxmemory'. script: f00, on @user_script:3.",
            false,
            "nothing was stored",
        ),
        // Before Redis 7.
        (
            "-ERR Error running script (call to f_00): @user_script:5: @user_script: 5: -OOM command not allowed when used memory > 'maxmemory'.",
            false,
            "nothing was stored",
        ),
        (
            "-ERR Error running script (call to f_00): @user_script:5: @user_script: 5: -READONLY You can't write against a read only replica.",
            true,
            "is a replica",
        ),
        (
            "-MISCONF Redis is configured to save RDB snapshots",
            false,
            "cannot save",
        ),
        ("-NOAUTH Authentication required.", false, "password"),
        (
            "-WRONGPASS invalid username-password pair or user is disabled.",
            false,
            "right user",
        ),
        (
            "-NOPERM this user has no permissions to run the 'get' command",
            false,
            "the user may not run the command GET",
        ),
        ("-NOPERM No permissions to access a key", false, "~PREFIX:*"),
        (
            "-ERR MNEME-RIGHTS hget  script: f00, on @user_script:3.",
            false,
            "grant it with ACL SETUSER and +hget",
        ),
        ("-ERR max number of clients reached", true, "maxclients"),
        (
            "-ERR something OOMs in LOADINGs",
            false,
            "the server refused: ERR something",
        ),
    ];
    for (line, retryable, expected) in lines {
        match answered(line) {
            StoreError::Backend(error) => {
                let text = &error.message;
                assert_eq!(error.retryable, retryable, "{text}");
                assert!(
                    text.starts_with("Redis store h:1/0, prefix \"p\", insert: "),
                    "{text}"
                );
                assert!(text.contains(expected), "{text} lacks {expected}");
                assert!(
                    !text.contains("user_script:3") && !text.contains("f00"),
                    "{text}"
                );
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn damage_that_a_script_found_names_the_key() {
    let lines = [
        "-ERR MNEME-CORRUPT key p:lru: script: x is of the wrong type script: f00, on @user_script:3.",
        "-ERR Error running script (call to f_00): @user_script:5: MNEME-CORRUPT key p:lru: script: x is of the wrong type",
    ];
    for line in lines {
        match answered(line) {
            StoreError::Corrupt(text) => {
                assert!(text.contains("key p:lru: script: x"), "{text}");
                assert!(!text.contains("user_script:"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    let line = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    let answer = redis::parse_redis_value(line.as_bytes()).unwrap();
    match Fault::refused(answer.extract_error().unwrap_err()).of("p:version") {
        Fault::Corrupt(text) => assert!(text.contains("key p:version is"), "{text}"),
        other => panic!("{other:?}"),
    }
}
