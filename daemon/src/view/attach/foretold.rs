//! Keys that are shown before the job shows them: the overlay of [`sessd_client::predict`] on this terminal. It is drawn over
//! what the job wrote and taken back before anything else is written, so that nobody but the person here ever sees it.
//!
//! What is beneath it has to be known cell by cell: while it is worth it the view keeps a model of its screen, and not before.
//! On a fast way nothing is kept and nothing is asked for.

use super::View;
use super::line::Line;
use sessd_base::config::Predict;
use sessd_client::predict::terminal::Model;
use sessd_client::predict::{Discipline, Predictor};
use sessd_terminal::{Look, Over, Size, Terminal};

/// What is foretold here.
#[derive(Debug)]
pub(super) struct Foretold {
    mode: Predict,
    predictor: Predictor<Look>,
    /// The job's screen, while it is needed and known.
    screen: Option<Terminal>,
    /// It was asked for.
    asked: bool,
    /// Cells that are drawn over; none: nothing is, and the cursor is the job's.
    drawn: Option<Vec<(u16, u16)>>,
}

impl Foretold {
    /// Nothing yet. A terminal that can only be written to never shows anything beforehand.
    pub(super) fn new(mode: Predict) -> Self {
        Self { mode, predictor: Predictor::new(mode), screen: None, asked: false, drawn: None }
    }

    /// Takes what is drawn back.
    fn take_back(&mut self, out: &mut Vec<u8>) {
        if let (Some(cells), Some(screen)) = (self.drawn.take(), &self.screen) {
            screen.take_back(cells.into_iter(), out);
        }
    }

    /// Draws what is foretold.
    fn draw(&mut self, out: &mut Vec<u8>) {
        let Some(screen) = &self.screen else { return };
        let Some(overlay) = self.predictor.overlay(&Model(screen)) else { return };
        let underlined = overlay.underlined;
        let over = |cell: &sessd_client::predict::Shown<Look>| Over {
            at: cell.at,
            char: cell.char,
            look: cell.look,
            underlined,
        };
        let cells: Vec<Over> = overlay.cells.iter().map(over).collect();
        screen.draw_over(&cells, overlay.cursor, out);
        self.drawn = Some(cells.iter().map(|cell| cell.at).collect());
    }

    /// When something is due, in the view's milliseconds.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.screen.as_ref().and_then(|_| self.predictor.deadline_ms())
    }
}

impl View<'_> {
    /// May anything be drawn that is not the job's? Not beside a line of ours, and not where the screen is not the job's own.
    fn may_foretell(&self) -> bool {
        matches!(self.line, Line::Away) && self.asked.is_none() && self.core.carries() && !self.is_drawn()
    }

    /// What is foretold goes, before something else is written.
    pub(super) fn take_back(&mut self) {
        self.foretold.take_back(&mut self.to_terminal);
    }

    /// What is foretold now is drawn, and nothing else.
    pub(super) fn foretell(&mut self) {
        if self.foretold.screen.is_some() {
            self.take_back();
            if self.may_foretell() {
                self.foretold.draw(&mut self.to_terminal);
            }
        }
    }

    /// Keys went on their way, or are `held` until there is one.
    pub(super) fn foretell_typed(&mut self, keys: &[u8], held: bool, now: u64) {
        let seq = self.core.typed().typed_so_far();
        if held || self.foretold.screen.is_some() && !self.may_foretell() {
            self.foretold.predictor.typed_blindly(seq);
        } else {
            let screen = self.foretold.screen.as_ref().map(Model);
            self.foretold.predictor.typed(keys, seq, screen.as_ref(), now);
        }
        self.foretell();
    }

    /// Output was put on the terminal.
    pub(super) fn foretell_output(&mut self, bytes: &[u8], now: u64) {
        let Some(screen) = &mut self.foretold.screen else { return };
        screen.feed(bytes);
        let at = self.core.offset().unwrap_or(0);
        self.foretold.predictor.output(bytes, at, &Model(screen), now);
    }

    /// The terminal shows a whole screen of this size.
    pub(super) fn foretell_screen(&mut self, screen: &[u8], (cols, rows): (u16, u16)) {
        self.foretold.drawn = None;
        self.foretold.screen = None;
        if self.foretold.asked && !self.is_drawn() {
            let mut model = Terminal::new(Size { cols, rows }, 0);
            model.feed(screen);
            self.foretold.screen = Some(model);
            self.foretold.predictor.redrawn();
        }
    }

    /// Everything that was typed before `seq` is written.
    pub(super) fn foretell_written(&mut self, seq: u64, now: u64) {
        self.foretold.predictor.written(seq, now);
    }

    /// The holder's word of the echo.
    pub(super) fn foretell_echoed(&mut self, (seq, offset): (u64, u64), discipline: Discipline, now: u64) {
        if let Some(screen) = &self.foretold.screen {
            let shown = self.core.offset().unwrap_or(0);
            self.foretold.predictor.echoed((seq, offset), discipline, (shown, &Model(screen)), now);
            self.foretell();
        }
    }

    /// The path to the job broke, or is another.
    pub(super) fn foretell_no_more(&mut self) {
        self.take_back();
        self.foretold.predictor.broken();
    }

    /// The path leads to another job.
    pub(super) fn foretell_anew(&mut self) {
        self.take_back();
        self.foretold = Foretold::new(self.foretold.mode);
    }

    /// The terminal has another size, and made of its screen what it likes.
    pub(super) fn foretell_resized(&mut self) {
        self.foretold.predictor.forget();
        (self.foretold.drawn, self.foretold.screen, self.foretold.asked) = (None, None, false);
    }

    /// Begins to look ahead, or ends it, as the way to the job is; and takes back what nobody has said a word of.
    pub(super) fn look_ahead(&mut self) {
        let now = self.now();
        if self.foretold.deadline_ms().is_some_and(|at| now >= at) {
            self.foretold.predictor.tick(now);
            self.foretell();
        }
        let wants = self.foretold.predictor.wants() && !self.plain && !self.request.read_only;
        self.core.predicts(wants && self.lost.is_none());
        if wants != self.foretold.asked {
            self.take_back();
            (self.foretold.asked, self.foretold.screen) = (wants, None);
            if wants {
                // The screen beneath.
                self.core.redraw();
            }
        }
    }
}
