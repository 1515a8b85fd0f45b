//! Questions of hosts to the person at the end of a connection: one at a time, each with a number of its own.

use crate::desk::{Given, PendingQuestion, Person};
use crate::wire::{OutQueue, OwnedFrame};
use sessd_base::prompt::Prompter;
use sessd_proto::Frame;
use sessd_proto::frame::kind;
use sessd_proto::messages as m;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// Answers on their way; one that answers more than it is asked is not heard.
const WAITING: usize = 4;

/// The questions of one connection. Whoever was to be asked there is gone when this is dropped.
pub(super) struct Questions {
    answers: mpsc::Sender<(u64, Given)>,
    task: JoinHandle<()>,
}

impl Questions {
    /// Puts questions on a connection from now on.
    pub(super) fn put_on(out: &OutQueue) -> (Self, Arc<dyn Prompter>) {
        let (person, asked) = Person::new();
        let (answers, given) = mpsc::channel(WAITING);
        let task = tokio::task::spawn_local(run(asked, given, out.clone()));
        (Self { answers, task }, person)
    }

    /// Takes a frame that is an answer.
    pub(super) fn hear(&self, frame: &OwnedFrame) -> bool {
        if frame.raw().kind != kind::ANSWER {
            return false;
        }
        if let Ok(Frame::Answer(m::QuestionAnswer { id, given })) = frame.parse() {
            let _ = self.answers.try_send((id, Given(given.map(Zeroizing::new))));
        }
        true
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    mut asked: mpsc::UnboundedReceiver<PendingQuestion>,
    mut given: mpsc::Receiver<(u64, Given)>,
    out: OutQueue,
) {
    let mut id = 0;
    while let Some(PendingQuestion { question, mut answer }) = asked.recv().await {
        if answer.is_closed() {
            continue;
        }
        id += 1;
        out.put(
            0,
            &Frame::Question(m::Question {
                id,
                host: question.host,
                text: question.text,
                prompt: question.prompt,
                echo: question.echo,
            }),
        );
        loop {
            tokio::select! {
                biased;
                came = given.recv() => match came {
                    Some((of, what)) if of == id => {
                        let _ = answer.send(what);
                        break;
                    }
                    // To a question that is over.
                    Some(_) => {}
                    None => return,
                },
                () = answer.closed() => {
                    out.put(0, &Frame::QuestionOver(m::QuestionOver { id }));
                    break;
                }
            }
        }
    }
}
