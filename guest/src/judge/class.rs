//! What a word form is for; a set of these.

/// Says little about what is asked.
pub const FUNCTION: u32 = 1;
/// Turns what is said into its contrary.
pub const NEGATION: u32 = 1 << 1;
/// Begins a question of yes or no.
pub const AUXILIARY: u32 = 1 << 2;
/// Joins equals: `and`, `or`, `vs`.
pub const JOINER: u32 = 1 << 3;
/// What follows is where something goes: `to`, `into`.
pub const GOAL: u32 = 1 << 4;
/// What follows is where something comes from.
pub const SOURCE: u32 = 1 << 5;
/// What follows has another part in what is said than what stands before.
pub const MARKER: u32 = 1 << 6;
/// Says the same of both its sides: `difference`, `distance`.
pub const SYMMETRIC: u32 = 1 << 7;
/// A letter or a number behind it is a name: `vitamin`, `type`.
pub const CARRIER: u32 = 1 << 8;
/// A function word of another language that is no word of this one.
pub const FOREIGN: u32 = 1 << 9;
/// A month behind it is a month, `may` too.
pub const BEFORE_MONTH: u32 = 1 << 10;
/// A number word that is often no number: `one`, `second`.
pub const WEAK_NUMBER: u32 = 1 << 11;
/// An ordinal.
pub const ORDINAL: u32 = 1 << 12;
/// A month's name that is another word too.
pub const UNSURE_MONTH: u32 = 1 << 13;
/// Time before noon.
pub const MORNING: u32 = 1 << 14;
/// Time after noon.
pub const AFTERNOON: u32 = 1 << 15;
/// Behind these a negation negates nothing: `whether or not`.
pub const CANCELS_NEGATION: u32 = 1 << 16;
/// A number beside it is a sum of money.
pub const MONEY: u32 = 1 << 17;
/// `a`, `the`.
pub const ARTICLE: u32 = 1 << 18;
/// `of`, between a part and the whole.
pub const PARTITIVE: u32 = 1 << 19;
/// Between two that are compared: `than`.
pub const COMPARISON: u32 = 1 << 20;
/// A negation before these negates nothing: `not only`.
pub const UNNEGATED: u32 = 1 << 21;
/// Behind `how`: it asks for an amount.
pub const AMOUNT: u32 = 1 << 22;
/// Behind `how`: it asks for a reason.
pub const REASON: u32 = 1 << 23;
/// A participle behind it is what is done, not a state.
pub const PASSIVE: u32 = 1 << 24;
/// An irregular past or participle.
pub const PARTICIPLE: u32 = 1 << 25;
/// A month.
pub const MONTH: u32 = 1 << 26;
/// A day of the week.
pub const WEEKDAY: u32 = 1 << 27;
/// A number word. This and the classes of higher bits have values.
pub const NUMBER: u32 = 1 << 28;
/// A part of a number before it: `quarters`. It is a number word.
pub const FRACTION: u32 = 1 << 29;
/// Multiplies the number before it. It is a number word.
pub const SCALE: u32 = 1 << 30;

/// The names of classes in `words.txt`, each at the place of its bit; those at the end have no bit.
pub const NAMES: [&str; 42] = [
    "function",
    "negation",
    "auxiliary",
    "joiner",
    "goal",
    "source",
    "marker",
    "symmetric",
    "carrier",
    "foreign",
    "before-month",
    "weak-number",
    "ordinal",
    "unsure-month",
    "morning",
    "afternoon",
    "cancels-negation",
    "money",
    "article",
    "partitive",
    "comparison",
    "unnegated",
    "amount",
    "reason",
    "passive",
    "irregular-verb",
    "month",
    "weekday",
    "number",
    "fraction",
    "scale",
    "irregular",
    "contraction",
    "asks-person",
    "asks-time",
    "asks-place",
    "asks-reason",
    "asks-way",
    "asks-thing",
    "asks-truth",
    "asks-advice",
    "asks-possibility",
];

/// The place of `irregular` in the names: from here on they are no classes.
pub const IRREGULAR: usize = 31;
/// The place of `contraction`.
pub const CONTRACTION: usize = 32;
/// The place of the first that says what is asked.
pub const FIRST_ASKED: usize = 33;
