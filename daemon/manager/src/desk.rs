//! Who may be asked for a host: the people who want it, each at the end of a connection.
//!
//! A question is put before one of them, whoever came last; where that one goes, before the next. One question is open at a
//! time, as a login asks one after the other.

use sessd_base::prompt::{Answer, Prompter, Question};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

/// People of one host who are remembered.
const MAX_PEOPLE: usize = 64;

/// A question on its way to a person, and where the answer goes. The receiver is gone when it is not wanted any more.
#[derive(Debug)]
pub struct PendingQuestion {
    /// The question.
    pub question: Question,
    /// Where what became of it goes.
    pub answer: oneshot::Sender<Given>,
}

/// What a person gave; none: would not answer.
pub struct Given(pub Option<Zeroizing<String>>);

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Given").finish_non_exhaustive()
    }
}

/// A person at the end of a connection.
#[derive(Debug)]
pub struct Person(mpsc::UnboundedSender<PendingQuestion>);

impl Person {
    /// A person, and what they are asked.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<PendingQuestion>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self(sender)), receiver)
    }
}

impl Prompter for Person {
    fn ask(&self, question: Question) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            let (answer, came) = oneshot::channel();
            if self.0.send(PendingQuestion { question, answer }).is_err() {
                return Answer::Nobody;
            }
            match came.await {
                Ok(Given(Some(given))) => Answer::Given(given),
                Ok(Given(None)) => Answer::Declined,
                Err(_) => Answer::Nobody,
            }
        })
    }

    fn is_there(&self) -> bool {
        !self.0.is_closed()
    }
}

/// How far an attempt to reach a host is: what those who wait for it are told that they wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// What the ssh config says of the host is found out, by programs that it names, maybe.
    Config,
    /// The connection and the login, through whatever is on the way.
    Login,
    /// The agent is looked for there, put there, started: the first that a login shell does.
    Agent,
}

impl Step {
    const ALL: [Self; 3] = [Self::Config, Self::Login, Self::Agent];

    /// What `host` is waited for, one sentence.
    pub fn words(self, host: &str) -> String {
        match self {
            Self::Config => format!("what the ssh config says of {host} is still being found out"),
            Self::Login => format!("{host} is still being connected to and logged in to"),
            Self::Agent => format!("logged in to {host}; its shell has not started the agent yet"),
        }
    }
}

/// The people who want one host, the latest first.
#[derive(Default)]
pub struct Desk {
    people: Mutex<Vec<Arc<dyn Prompter>>>,
    /// Of [`Step::ALL`].
    step: AtomicU8,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// Somebody wants the host.
    pub fn join(&self, person: &Arc<dyn Prompter>) {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        people.retain(|other| other.is_there() && !Arc::ptr_eq(other, person));
        people.insert(0, person.clone());
        people.truncate(MAX_PEOPLE);
    }

    /// The attempt has come this far.
    pub fn is_at(&self, step: Step) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    /// How far the attempt has come.
    pub fn step(&self) -> Step {
        Step::ALL.get(usize::from(self.step.load(Ordering::Relaxed))).copied().unwrap_or(Step::Config)
    }

    fn first(&self) -> Option<Arc<dyn Prompter>> {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        people.retain(|person| person.is_there());
        people.first().cloned()
    }
}

impl Prompter for Desk {
    fn ask(&self, question: Question) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            while let Some(person) = self.first() {
                match person.ask(question.clone()).await {
                    // That one has gone meanwhile.
                    Answer::Nobody if !person.is_there() => {}
                    answer => return answer,
                }
            }
            Answer::Nobody
        })
    }

    fn is_there(&self) -> bool {
        self.first().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question { host: "box".into(), text: String::new(), prompt: "Password: ".into(), echo: false }
    }

    #[tokio::test]
    async fn one_of_many_is_asked_and_another_only_when_that_one_goes() {
        let desk = Desk::default();
        assert!(!desk.is_there() && desk.ask(question()).await == Answer::Nobody);
        let (one, mut asked_one) = Person::new();
        let (two, mut asked_two) = Person::new();
        let (one, two): (Arc<dyn Prompter>, Arc<dyn Prompter>) = (one, two);
        for person in [&one, &two, &one] {
            desk.join(person);
        }
        let answering = async {
            let asked = asked_one.recv().await.unwrap();
            assert!(asked_two.try_recv().is_err(), "nobody else is asked");
            drop((asked, asked_one));
            let asked = asked_two.recv().await.unwrap();
            assert_eq!(asked.question, question());
            asked.answer.send(Given(Some(Zeroizing::new("secret".to_owned())))).unwrap();
        };
        let (answer, ()) = tokio::join!(desk.ask(question()), answering);
        assert!(answer == Answer::Given(Zeroizing::new("secret".to_owned())));
    }

    #[tokio::test]
    async fn a_question_that_is_taken_back_is_seen_to_be() {
        let desk = Desk::default();
        let (person, mut asked) = Person::new();
        let person: Arc<dyn Prompter> = person;
        desk.join(&person);
        let asked = tokio::select! {
            _ = desk.ask(question()) => panic!("nobody has answered"),
            asked = asked.recv() => asked.unwrap(),
        };
        assert!(asked.answer.is_closed());
    }

    #[tokio::test]
    async fn who_would_not_answer_is_the_last_to_be_asked() {
        let desk = Desk::default();
        let (one, mut asked_one) = Person::new();
        let (two, mut asked_two) = Person::new();
        let (one, two): (Arc<dyn Prompter>, Arc<dyn Prompter>) = (one, two);
        desk.join(&one);
        desk.join(&two);
        let declining = async { asked_two.recv().await.unwrap().answer.send(Given(None)).unwrap() };
        let (answer, ()) = tokio::join!(desk.ask(question()), declining);
        assert!(answer == Answer::Declined && asked_one.try_recv().is_err());
    }
}
