//! A question of the host to the person at this view: over the last rows of the screen, which are drawn again after it.

use super::View;
use crate::view::{terminal, words};
use sessd_base::prompt::{Answer, Question};
use sessd_client::question::{self, Editor};
use sessd_proto::messages as m;
use unicode_width::UnicodeWidthChar as _;
use zeroize::Zeroize as _;

/// The question that is open.
#[derive(Debug)]
pub(super) struct OpenQuestion {
    id: u64,
    question: Question,
    editor: Editor,
    /// Rows from the bottom that it covers.
    rows: u16,
}

/// The rows of a question, each of so many columns at the most: what is to be read, and the prompt behind it.
fn rows(question: &Question, typed: &str, cols: usize, most: usize) -> Vec<String> {
    let last = if question.echo { format!("{} {typed}", question.prompt) } else { question.prompt.clone() };
    let mut rows: Vec<String> = Vec::new();
    let head = format!("sessd: {}", question.host);
    for line in [head.as_str()].into_iter().chain(question.text.lines()).chain([last.as_str()]) {
        let (mut row, mut width) = (String::new(), 0);
        for c in line.chars() {
            let wide = c.width().unwrap_or(0);
            if width + wide > cols.max(1) {
                rows.push(std::mem::take(&mut row));
                width = 0;
            }
            row.push(c);
            width += wide;
        }
        rows.push(row);
    }
    // The prompt must be seen, whatever goes before it.
    rows.drain(..rows.len().saturating_sub(most.max(1)));
    rows
}

impl View<'_> {
    /// The manager puts a question.
    pub(super) fn put_question(&mut self, asked: &m::Question) {
        let question = question::from_message(asked);
        self.asked = Some(OpenQuestion { id: asked.id, question, editor: Editor::default(), rows: 0 });
        self.draw_question();
    }

    /// It is not wanted any more.
    pub(super) fn question_over(&mut self, id: u64) {
        if self.asked.as_ref().is_some_and(|asked| asked.id == id) {
            self.end_question();
        }
    }

    /// Keys are an answer while a question is open. False: none is.
    pub(super) fn type_answer(&mut self, bytes: &[u8]) -> bool {
        let Some(asked) = &mut self.asked else { return false };
        let (id, answer) = (asked.id, asked.editor.feed(bytes));
        match answer {
            None if asked.question.echo => self.draw_question(),
            None => {}
            Some(answer) => {
                let given = if let Answer::Given(given) = answer { Some(given) } else { None };
                let mut frame = question::answer_frame(id, given);
                self.core.poll().extend_from_slice(&frame);
                frame.zeroize();
                self.end_question();
            }
        }
        true
    }

    /// Draws the open question, if there is one.
    pub(super) fn draw_question(&mut self) {
        self.take_back();
        let Some(asked) = &mut self.asked else { return };
        let (cols, height) = terminal::size().unwrap_or((80, 24));
        let rows =
            rows(&asked.question, &asked.editor.shown(), cols.into(), usize::from(height.saturating_sub(1)));
        if self.plain {
            if asked.rows == 0 {
                self.to_terminal.extend_from_slice(format!("\r\n{} ", rows.join("\r\n")).as_bytes());
            }
            asked.rows = 1;
            return;
        }
        let count = u16::try_from(rows.len()).unwrap_or(1);
        asked.rows = asked.rows.max(count);
        let mut out = String::from("\x1b7\x0f\x1b(B\x1b[?6l\x1b[r\x1b[?69l\x1b[4l");
        for (n, row) in rows.iter().enumerate() {
            let at = height.saturating_sub(count) + 1 + n as u16;
            out.push_str(&format!("\x1b[{at};1H\x1b[0;7m{}\x1b[K", words::shown(row, self.wide)));
        }
        out.push_str("\x1b[0m\x1b8");
        self.to_terminal.extend_from_slice(out.as_bytes());
    }

    /// The rows are given back; the manager sends what was on them.
    fn end_question(&mut self) {
        let Some(asked) = self.asked.take() else { return };
        if self.plain {
            self.to_terminal.extend_from_slice(b"\r\n");
            return;
        }
        let height = terminal::size().map_or(24, |(_, rows)| rows);
        let mut out = String::from("\x1b7\x1b[?6l\x1b[r\x1b[0m");
        for n in 0..asked.rows {
            out.push_str(&format!("\x1b[{};1H\x1b[K", height.saturating_sub(n).max(1)));
        }
        out.push_str("\x1b8");
        self.to_terminal.extend_from_slice(out.as_bytes());
        self.core.redraw();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_wrapped_and_its_prompt_is_always_seen() {
        let question = Question {
            host: "box".into(),
            text: "The authenticity of host 'box' can't be established.\nSHA256:abc".into(),
            prompt: "Continue (yes/no)?".into(),
            echo: true,
        };
        let all = rows(&question, "ye", 19, 23);
        assert_eq!(all[0], "sessd: box");
        assert_eq!(all.last().unwrap(), "ye");
        assert!(all.iter().all(|row| row.chars().count() <= 19));
        assert_eq!(rows(&question, "ye", 80, 2), ["SHA256:abc", "Continue (yes/no)? ye"]);
        let secret = Question { echo: false, ..question };
        assert!(!rows(&secret, "hidden", 80, 23).concat().contains("hidden"));
    }
}
