//! Names of tenants that a careless store, key, pattern or path takes for each other.

/// The most bytes of a namespace.
const LONGEST: usize = 1024;

/// Names that a cache takes. All differ, and neighbours in the list are alike.
pub fn names() -> Vec<String> {
    let long = |end: &str| "x".repeat(LONGEST - end.len()) + end;
    let names = [
        // Case.
        "acme",
        "ACME",
        "Acme",
        "aCmE",
        "ａｃｍｅ",
        "ß",
        "ss",
        "ẞ",
        "ı",
        "i",
        "I",
        "İ",
        "i\u{307}",
        // White space, and what looks like none.
        "acme ",
        " acme",
        "acme  ",
        "acme\t",
        "acme\n",
        "acme\r\n",
        "acme\u{a0}",
        "acme\u{200b}",
        "\u{feff}acme",
        " ",
        "  ",
        // What stands for U+0000, and other controls.
        "acme\\0",
        "acme%00",
        "acme\\u0000",
        "acme\u{2400}",
        "acme\u{1}",
        "acme\u{1f}",
        "acme\u{7f}",
        // Normal forms.
        "é",
        "e\u{301}",
        "Å",
        "\u{212b}",
        "A\u{30a}",
        "ﬁ",
        "fi",
        "\u{3a9}",
        "\u{2126}",
        "가",
        "\u{1100}\u{1161}",
        // Separators of keys, paths and hash tags.
        "a",
        "aa",
        "a:",
        ":a",
        "a:b",
        "a::b",
        "a:b:c",
        ":",
        "{a}",
        "{a}:b",
        "}a{",
        "a#b",
        "a|b",
        "a/b",
        "a\\b",
        "..",
        "../a",
        "a,b",
        "a;b",
        "a=b",
        "a&b",
        "a+b",
        "a%20b",
        "a b",
        "p:entry:1",
        "namespace",
        // Wildcards and SQL.
        "%",
        "_",
        "a_me",
        "ac%",
        "*",
        "a*",
        "?",
        "[a-z]",
        "'",
        "' OR '1'='1",
        "\"",
        "`",
        "--",
        "$1",
        // Names and numbers that mean something elsewhere.
        "default",
        "null",
        "NULL",
        "None",
        "true",
        "0",
        "00",
        "0.0",
        "-1",
        "1e3",
        // The ends of UTF-8 and UTF-16, which sort differently.
        "\u{10ffff}",
        "\u{ffff}",
        "\u{e000}",
        "🦀",
        "\u{202e}acme",
    ];
    let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    // Lengths at which a store might cut.
    for length in [63, 64, 127, 128, 255, 256, 767] {
        names.push("x".repeat(length));
    }
    names.extend([long("x"), long("y"), long("é"), "é".repeat(LONGEST / 2)]);
    names
}

/// Names that a cache refuses.
pub fn refused() -> Vec<String> {
    vec![
        String::new(),
        "\0".into(),
        "acme\0".into(),
        "ac\0me".into(),
        "x".repeat(LONGEST + 1),
        "x".repeat(LONGEST - 1) + "é",
        "🦀".repeat(100_000),
    ]
}
