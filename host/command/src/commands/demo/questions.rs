//! The questions that `demo` asks.

/// Why a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A stored question.
    Same,
    /// A stored question in other words.
    Reworded,
    /// A question about something else.
    Unrelated,
    /// Nearly the words of a stored question, with another meaning.
    Trap,
}

impl Kind {
    /// The kind's name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Reworded => "reworded",
            Self::Unrelated => "unrelated",
            Self::Trap => "trap",
        }
    }

    /// The heading of the kind's questions.
    pub fn title(self) -> &'static str {
        match self {
            Self::Same => "The same words, in other case or spacing: should hit",
            Self::Reworded => "Other words, the same meaning: should hit",
            Self::Unrelated => "Something else altogether: must miss",
            Self::Trap => "Traps, similar words with another meaning: should miss",
        }
    }
}

/// A question.
#[derive(Debug)]
pub struct Question {
    pub kind: Kind,
    pub text: &'static str,
    /// The stored question whose answer fits.
    pub answer: Option<&'static str>,
}

const fn ask(kind: Kind, text: &'static str, answer: &'static str) -> Question {
    Question {
        kind,
        text,
        answer: Some(answer),
    }
}

const fn none(kind: Kind, text: &'static str) -> Question {
    Question {
        kind,
        text,
        answer: None,
    }
}

/// All questions, by kind.
pub const QUESTIONS: &[Question] = &[
    ask(
        Kind::Same,
        "How do I reset my password?",
        "How do I reset my password?",
    ),
    ask(
        Kind::Same,
        "  how do i CANCEL   my subscription? ",
        "How do I cancel my subscription?",
    ),
    ask(
        Kind::Reworded,
        "I forgot my password, how can I reset it?",
        "How do I reset my password?",
    ),
    ask(
        Kind::Reworded,
        "What is the price of the premium plan?",
        "How much does the premium plan cost?",
    ),
    ask(
        Kind::Reworded,
        "Do students get a discount?",
        "Is there a student discount?",
    ),
    ask(
        Kind::Reworded,
        "Can you deliver to Canada?",
        "Do you ship to Canada?",
    ),
    ask(
        Kind::Reworded,
        "How can I permanently remove my account?",
        "How do I delete my account?",
    ),
    ask(
        Kind::Reworded,
        "Could I get my money refunded?",
        "Can I get a refund?",
    ),
    ask(
        Kind::Reworded,
        "How can I get my money back?",
        "Can I get a refund?",
    ),
    none(Kind::Unrelated, "What is the capital of Australia?"),
    none(Kind::Unrelated, "Can you recommend a good pasta recipe?"),
    none(Kind::Trap, "Do you ship to Mexico?"),
    none(Kind::Trap, "How do I downgrade from the premium plan?"),
    none(Kind::Trap, "How do I reactivate my subscription?"),
    none(
        Kind::Trap,
        "Can I change the billing address after ordering?",
    ),
    none(Kind::Trap, "How do I turn off two-factor authentication?"),
];
