//! What a word form is for; a set of these.

/// Says little about what is asked.
pub const FUNCTION: u32 = 1;
/// Turns what is said into its contrary.
pub const NEGATION: u32 = 1 << 1;
/// Begins a question of yes or no.
pub const AUXILIARY: u32 = 1 << 2;
/// Asks for a thing: who, when, where.
pub const QUESTION: u32 = 1 << 3;
/// Joins equals: `and`, `or`, `vs`.
pub const JOINER: u32 = 1 << 4;
/// What follows is where something goes: `to`, `into`.
pub const GOAL: u32 = 1 << 5;
/// What follows is where something comes from.
pub const SOURCE: u32 = 1 << 6;
/// What follows has another part in what is said than what stands before.
pub const MARKER: u32 = 1 << 7;
/// Says the same of both its sides: `difference`, `distance`.
pub const SYMMETRIC: u32 = 1 << 8;
/// A letter or a number behind it is a name: `vitamin`, `type`.
pub const CARRIER: u32 = 1 << 9;
/// A function word of another language that is no word of this one.
pub const FOREIGN: u32 = 1 << 10;
/// A month behind it is a month, `may` too.
pub const BEFORE_MONTH: u32 = 1 << 11;
/// A number word that is often no number: `one`, `second`.
pub const WEAK_NUMBER: u32 = 1 << 12;
/// An ordinal.
pub const ORDINAL: u32 = 1 << 13;
/// A month's name that is another word too.
pub const UNSURE_MONTH: u32 = 1 << 14;
/// Time before noon.
pub const MORNING: u32 = 1 << 15;
/// Time after noon.
pub const AFTERNOON: u32 = 1 << 16;
/// Behind these a negation negates nothing: `whether or not`.
pub const CANCELS_NEGATION: u32 = 1 << 17;
/// A number beside it is a sum of money.
pub const MONEY: u32 = 1 << 18;
/// `a`, `the`.
pub const ARTICLE: u32 = 1 << 19;
/// `of`, between a part and the whole.
pub const PARTITIVE: u32 = 1 << 20;
/// Between two that are compared: `than`.
pub const COMPARISON: u32 = 1 << 21;
/// A negation before these negates nothing: `not only`.
pub const UNNEGATED: u32 = 1 << 22;
/// Behind `how`: it asks for an amount.
pub const AMOUNT: u32 = 1 << 23;
/// Behind `how`: it asks for a reason.
pub const REASON: u32 = 1 << 24;
/// A participle behind it is what is done, not a state.
pub const PASSIVE: u32 = 1 << 26;
/// A part of a number before it: `quarters`.
pub const FRACTION: u32 = 1 << 25;
/// Multiplies the number before it.
pub const SCALE: u32 = 1 << 27;
/// A month.
pub const MONTH: u32 = 1 << 28;
/// A day of the week.
pub const WEEKDAY: u32 = 1 << 29;
/// An irregular past or participle.
pub const PARTICIPLE: u32 = 1 << 30;
/// A number word.
pub const NUMBER: u32 = 1 << 31;

/// The names of classes in `words.txt`.
pub const NAMES: [(&str, u32); 32] = [
    ("function", FUNCTION),
    ("negation", NEGATION),
    ("auxiliary", AUXILIARY),
    ("question", QUESTION),
    ("joiner", JOINER),
    ("goal", GOAL),
    ("source", SOURCE),
    ("marker", MARKER),
    ("symmetric", SYMMETRIC),
    ("carrier", CARRIER),
    ("foreign", FOREIGN),
    ("before-month", BEFORE_MONTH),
    ("weak-number", WEAK_NUMBER),
    ("ordinal", ORDINAL),
    ("unsure-month", UNSURE_MONTH),
    ("morning", MORNING),
    ("afternoon", AFTERNOON),
    ("cancels-negation", CANCELS_NEGATION),
    ("money", MONEY),
    ("article", ARTICLE),
    ("partitive", PARTITIVE),
    ("comparison", COMPARISON),
    ("unnegated", UNNEGATED),
    ("amount", AMOUNT),
    ("reason", REASON),
    ("passive", PASSIVE),
    ("fraction", FRACTION | NUMBER),
    ("scale", SCALE | NUMBER),
    ("number", NUMBER),
    ("month", MONTH),
    ("weekday", WEEKDAY),
    ("irregular-verb", PARTICIPLE),
];
