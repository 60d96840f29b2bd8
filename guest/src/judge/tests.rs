use super::*;
use proptest::prelude::*;

/// The kinds of vetoes between two texts.
fn kinds(query: &str, entry: &str) -> Vec<Kind> {
    let found = vetoes(query, entry, Kinds::DEFAULT);
    found.into_iter().map(|veto| veto.kind).collect()
}

/// Each pair has a veto of the kind, either way round.
fn fires(kind: Kind, pairs: &[(&str, &str)]) {
    for (query, entry) in pairs {
        assert!(kinds(query, entry).contains(&kind), "{query} | {entry}");
        assert!(kinds(entry, query).contains(&kind), "{entry} | {query}");
    }
}

/// No pair has a veto of any kind.
fn passes(pairs: &[(&str, &str)]) {
    for (query, entry) in pairs {
        let found = vetoes(query, entry, Kinds::DEFAULT);
        assert!(found.is_empty(), "{query} | {entry}: {found:?}");
        assert!(kinds(entry, query).is_empty(), "{entry} | {query}");
    }
}

#[test]
fn opposites_exclude_each_other() {
    fires(
        Kind::Opposites,
        &[
            ("turn on the lights", "turn the kitchen lights off"),
            ("How do I enable wifi?", "How do I switch off wifi?"),
            ("install the driver", "uninstall the driver"),
            ("How to mount a disk", "How to unmount a disk"),
            ("hyperthyroidism symptoms", "hypothyroidism symptoms"),
            ("rights of an employer", "rights of an employee"),
            ("harmless plants", "harmful plants"),
            ("coffee with milk", "coffee without milk"),
            ("the maximum dose of aspirin", "the minimum dose of aspirin"),
            ("Is it a viral infection?", "Is it a bacterial infection?"),
            ("sort in ascending order", "sort in descending order"),
            (
                "the cheapest month to fly",
                "the most expensive month to fly",
            ),
            ("salmon in the oven", "salmon in the microwave"),
            ("change the billing address", "change the delivery address"),
            ("Where was Mozart born?", "When was Mozart born?"),
            ("How do I boil eggs?", "How long do I boil eggs?"),
            ("delete all messages", "delete some messages"),
            ("the first goal in the final", "the last goal in the final"),
        ],
    );
    passes(&[
        ("switch off wifi", "turn off wifi"),
        (
            "What should I do in Rome in summer?",
            "What should I do in summer in Rome?",
        ),
        (
            "How hot is it in Cairo in August?",
            "How hot is it in August in Cairo?",
        ),
        (
            "How tall is the Eiffel Tower?",
            "how high is the eiffel tower?",
        ),
        ("How big is the garden?", "How large is the garden?"),
        ("turn the heating off", "disable the heating"),
        ("log in to my account", "sign in to my account"),
        ("why is wifi not enabled", "why is wifi disabled"),
        ("advantages of tea", "advantages and disadvantages of tea"),
        ("My account is locked", "How do I unlock my account?"),
        ("the least expensive hotel", "the cheapest hotel"),
        ("coffee with no milk", "coffee without milk"),
        ("a vaccine for the flu", "a vaccine against the flu"),
        ("Is A bigger than B?", "Is B smaller than A?"),
        ("human rights", "rights of humans left out"),
        ("play a movie", "display a movie"),
    ]);
}

#[test]
fn negations_count_in_otherwise_equal_texts() {
    fires(
        Kind::Negation,
        &[
            ("Which planets have moons?", "Which planets have no moons?"),
            ("Can I deduct interest?", "Can I not deduct interest?"),
            ("Why does my phone charge?", "Why doesn't my phone charge?"),
            (
                "Items that can be returned",
                "Items that can never be returned",
            ),
            (
                "which volcanoes are active",
                "which volcanoes are no longer active",
            ),
            ("eat this", "don’t eat this"),
        ],
    );
    passes(&[
        ("Isn't it true?", "Is it true?"),
        (
            "Are cards useful, why or why not?",
            "Are cards useful, why?",
        ),
        ("My phone won't charge", "My phone is not charging"),
        ("I can't sleep", "I cannot sleep"),
        ("roll no. 1", "roll 1"),
        ("I know whether or not it rains", "I know whether it rains"),
    ]);
}

#[test]
fn numbers_differ_by_value_unit_and_order() {
    fires(
        Kind::Numbers,
        &[
            ("convert 5 miles to km", "convert 8 miles to km"),
            ("calories in one egg", "calories in two eggs"),
            ("2 of 3", "3 of 2"),
            ("lose 5 kg in 10 days", "lose 10 kg in 5 days"),
            ("10 mg of aspirin", "10 g of aspirin"),
            ("what is 20% of 50", "what is 20% of 60"),
            ("the second quarter", "the third quarter"),
            ("2 + 2", "2 + 3"),
            ("type 1 diabetes", "type 2 diabetes"),
            ("World War II", "World War III"),
            ("9999999999999999999999", "9999999999999999999998"),
        ],
    );
    passes(&[
        ("1,500 dollars", "$1500"),
        ("10k followers", "10,000 followers"),
        ("twenty-five people", "25 people"),
        ("two hundred and five apples", "205 apples"),
        ("90 minutes", "1.5 hours"),
        ("45 minutes", "three quarters of an hour"),
        ("two weeks off", "14 days off"),
        ("1/2 cup of sugar", "half a cup of sugar"),
        ("2½ hours", "two and a half hours"),
        ("5 million dollars", "$5m"),
        ("a dozen eggs", "12 eggs"),
        ("25 percent", "25%"),
        ("the 5th chapter", "the fifth chapter"),
        ("best phones", "10 best phones"),
        ("between 5 and 10", "between 10 and 5"),
        ("How can one sleep?", "How can two people sleep?"),
    ]);
}

#[test]
fn dates_are_days_however_they_are_written() {
    fires(
        Kind::Dates,
        &[
            ("Who won in 2018?", "Who won in 2022?"),
            ("open on Monday", "open on Tuesday"),
            ("weather in May", "weather in June"),
            ("on 5 March 2021", "on 2021-03-06"),
            ("at 3pm", "at 3 am"),
            ("music of the 1980s", "music of the 90s"),
            ("orders from last week", "orders from last month"),
            ("03/05/2021", "05/03/2021"),
        ],
    );
    passes(&[
        ("2024-03-05", "March 5, 2024"),
        ("the 5th of March 2024", "5 Mar 2024"),
        ("05/03/2024", "5 March 2024"),
        ("at 3 p.m.", "at 15:00"),
        ("open on Sunday", "open Sundays"),
        ("in 2024", "in March 2024"),
        ("May I come in?", "Might I come in?"),
    ]);
}

#[test]
fn identifiers_are_compared_as_a_whole() {
    fires(
        Kind::Identifiers,
        &[
            ("read a file in C", "read a file in C#"),
            ("a set in C++", "a set in C"),
            ("python 3.1 release", "python 3.10 release"),
            ("what is ==", "what is ==="),
            ("git reset --soft", "git reset --hard"),
            ("git push", "git push --force"),
            ("open a .zip", "open a .rar"),
            ("vitamin B12", "vitamin B6"),
            ("hepatitis A", "hepatitis B"),
            ("error 0x80070005", "error 0x80070057"),
            ("open main.rs", "open lib.rs"),
            ("upgrade to 1.2.3", "upgrade to 1.2.4"),
            ("install python3", "install python 2"),
        ],
    );
    passes(&[
        ("node v2.0", "node 2.0"),
        ("upgrade to v1.2.3", "upgrade to 1.2.3"),
        ("install python3", "install python 3"),
        ("COVID-19 rules", "covid 19 rules"),
        ("tax for Q2", "tax for the second quarter"),
        ("Nikon D-3300", "nikon d3300"),
        ("type a letter", "type the letter"),
    ]);
}

#[test]
fn roles_are_who_does_what() {
    fires(
        Kind::Roles,
        &[
            ("convert miles to km", "convert km to miles"),
            ("flights from Rome to Oslo", "flights from Oslo to Rome"),
            (
                "translate English into French",
                "translate French into English",
            ),
            ("Is Mars bigger than Venus?", "Is Venus bigger than Mars?"),
            ("replace tabs with spaces", "replace spaces with tabs"),
            ("Why do cats hate dogs?", "Why do dogs hate cats?"),
            ("If India attacks Pakistan", "Pakistan's attack on India"),
            ("subtract a from b", "subtract b from a"),
        ],
    );
    passes(&[
        ("flights from Rome to Oslo", "flights to Oslo from Rome"),
        ("distance from Rome to Oslo", "distance from Oslo to Rome"),
        (
            "the difference between TCP and UDP",
            "the difference between UDP and TCP",
        ),
        ("Java or Python", "Python or Java"),
        ("Indian friends in India", "friends in India, Indian"),
    ]);
}

#[test]
fn strict_kinds_are_off_by_default() {
    let names = ("Where is the Nile?", "Where is the Amazon?");
    let question = (
        "How can we protect the river?",
        "Why should all of us protect any river and lake?",
    );
    passes(&[names, question]);
    for (kind, (query, entry)) in [(Kind::Names, names), (Kind::QuestionWord, question)] {
        let found = vetoes(query, entry, Kinds::STRICT);
        assert!(found.iter().any(|veto| veto.kind == kind), "{found:?}");
        let without = Kinds::STRICT.without(kind);
        assert!(
            !vetoes(query, entry, without)
                .iter()
                .any(|veto| veto.kind == kind)
        );
        assert!(!Kinds::DEFAULT.has(kind) && Kinds::DEFAULT.with(kind).has(kind));
    }
}

#[test]
fn evidence_is_what_stands_there() {
    let found = vetoes(
        "Turn\u{200b} \u{202e}THE Lights Off",
        "turn on the lights",
        Kinds::DEFAULT,
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].query, "Turn THE Lights Off");
    assert_eq!(found[0].entry, "turn on");
    let long = format!("open file{}.txt", "x".repeat(500));
    let found = vetoes(&long, "open b.txt", Kinds::DEFAULT);
    assert_eq!(found[0].query.chars().count(), 64);
}

#[test]
fn other_languages_and_scripts_are_left_alone() {
    for (query, entry) in [
        ("как включить свет 5", "как выключить свет 6"),
        ("如何打开灯 1", "如何打开灯 2"),
        (
            "wie kann ich das Licht 5 einschalten",
            "wie kann ich das Licht 6 ausschalten",
        ),
        ("cómo puedo apagar la luz 5", "turn off light 6"),
    ] {
        assert!(vetoes(query, entry, Kinds::STRICT).is_empty(), "{query}");
    }
}

#[test]
fn homoglyphs_and_invisible_characters_change_nothing() {
    fires(
        Kind::Opposites,
        &[
            ("tu\u{200b}rn \u{43e}n wifi", "turn \u{ad}off\u{200f} wifi"),
            ("ＴＵＲＮ ＯＮ", "turn off"),
        ],
    );
    passes(&[("turn \u{43e}ff wifi", "turn off wi\u{2060}fi")]);
}

#[test]
fn long_texts_are_compared_at_both_ends() {
    let middle = "word ".repeat(4000);
    let text = |first: &str, between: &str, last: &str| {
        format!("{first} {middle}{between} {middle}{last}")
    };
    let judge = |query: &str, entry: &str| Judge::new(query).vetoes(entry, Kinds::DEFAULT);
    let same = judge(&text("turn on", "5", "a"), &text("turn on", "6", "a"));
    assert!(same.partial && same.vetoes.is_empty());
    let first = judge(&text("turn on", "5", "a"), &text("turn off", "5", "a"));
    assert!(first.partial && !first.vetoes.is_empty());
    let last = judge(&text("a", "5", "turn on"), &text("a", "5", "turn off"));
    assert!(last.partial && !last.vetoes.is_empty());
    assert!(!judge("turn on", "turn on").partial);
}

/// Texts of 32 KiB that are made to be slow, or to break something.
fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "1",
        "1234567890",
        "on ",
        "not ",
        "x to y ",
        "a b c d ",
        "turn ",
        "turn a b c off ",
        "a\u{202e} \u{200f}",
        "-a",
        "--",
        "1/",
        "1-",
        ".",
        "a.",
        "1:",
        "'",
        "(",
        ",",
        "5k ",
        "one ",
        "hundred ",
        "2020-01-02 ",
        "é",
        "🦀 ",
        "\u{43e}",
        "\0",
        "a@b.c ",
        "=",
        "c++ ",
        "'s ",
        "n't ",
        "1.",
        "1,",
    ]
    .iter()
    .map(|part| part.repeat(32768 / part.len()))
    .collect();
    texts.push((0..10_000).map(|n| format!("{n} ")).collect());
    texts.push((0..5_000).map(|n| format!("a{n} ")).collect());
    texts.push(String::new());
    texts
}

#[test]
fn hostile_texts_are_judged() {
    let texts = hostile();
    for text in &texts {
        let judge = Judge::new(text);
        assert!(judge.vetoes(text, Kinds::STRICT).vetoes.is_empty());
        for other in &texts {
            judge.vetoes(other, Kinds::STRICT);
        }
    }
    let numbers = |step: u32| {
        (0..10_000)
            .map(|n| format!("{} ", n * step))
            .collect::<String>()
    };
    assert!(kinds(&numbers(7), &numbers(11)).contains(&Kind::Numbers));
}

/// Words that rules are about, so that random texts meet them.
const WORDS: [&str; 48] = [
    "turn",
    "on",
    "off",
    "not",
    "no",
    "with",
    "without",
    "from",
    "to",
    "Paris",
    "Rome",
    "5",
    "6",
    "1.5",
    "km",
    "miles",
    "one",
    "first",
    "half",
    "hundred",
    "and",
    "or",
    "than",
    "bigger",
    "smaller",
    "May",
    "March",
    "2020",
    "3pm",
    "c++",
    "c",
    "a",
    "--force",
    "install",
    "uninstall",
    "enable",
    "all",
    "some",
    "why",
    "when",
    "is",
    "isn't",
    ",",
    "?",
    "v2.0",
    "python3",
    "python",
    "10%",
];

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        prop::collection::vec(prop::sample::select(&WORDS[..]), 0..12)
            .prop_map(|words| words.join(" ")),
        "[a-c1-3.,:/%$#+@' -]{0,24}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn vetoes_hold_both_ways(query in texts(), entry in texts()) {
        let there = vetoes(&query, &entry, Kinds::STRICT);
        let back = vetoes(&entry, &query, Kinds::STRICT);
        prop_assert_eq!(there.is_empty(), back.is_empty(), "{:?} {:?}", there, back);
        let kinds: Vec<Kind> = there.iter().map(|veto| veto.kind).collect();
        prop_assert!(kinds.is_sorted());
        prop_assert_eq!(Judge::new(&query).vetoes(&entry, Kinds::STRICT).vetoes, there);
    }

    #[test]
    fn a_text_does_not_exclude_itself(text in texts()) {
        prop_assert_eq!(vetoes(&text, &text, Kinds::STRICT), []);
    }

    #[test]
    fn case_and_white_space_do_not_matter(query in texts(), entry in texts()) {
        let loud = query.to_ascii_uppercase().replace(' ', " \t\u{a0}\n");
        let padded = format!("  {}\u{3000}", entry.to_ascii_lowercase());
        prop_assert_eq!(kinds(&query, &entry), kinds(&loud, &padded));
    }
}

#[test]
fn a_time_is_shown_with_its_half_of_the_day() {
    let found = vetoes("Remind me at 7 pm", "Remind me at 7 am", Kinds::DEFAULT);
    let [veto] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (veto.kind, &*veto.query, &*veto.entry),
        (Kind::Dates, "7 pm", "7 am")
    );
}

#[test]
fn an_amount_is_shown_with_its_question_word() {
    let found = vetoes(
        "How do I boil eggs?",
        "How long do I boil eggs?",
        Kinds::DEFAULT,
    );
    assert_eq!((&*found[0].query, &*found[0].entry), ("How", "How long"));
}
