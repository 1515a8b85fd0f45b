//! How much a view may have typed ahead. The holder closes the stream over which more than a window of one view comes, and
//! that stream is shared by all views of the session: so the manager holds each view to its window itself.

use sessd_proto::limits::{INPUT_WINDOW, PLAIN_INPUT_WINDOW};

/// The window of a job whose holder says `told` of it: never more than we are ready to carry, whatever it says.
pub fn window(told: u64) -> u64 {
    told.clamp(INPUT_WINDOW, PLAIN_INPUT_WINDOW)
}

/// One view's input, as far as the manager sees it pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Typed {
    /// Everything before this was written, withdrawn, or typed before we knew the view; none: it has typed nothing here.
    base: Option<u64>,
}

impl Typed {
    /// A frame of input passes: may it, where so many bytes may be on their way? `withdrawn`: what is missing before it never
    /// comes.
    #[must_use]
    pub fn passes(&mut self, seq: u64, len: usize, withdrawn: bool, window: u64) -> bool {
        let base = self.base.get_or_insert(seq);
        if withdrawn {
            *base = seq.max(*base);
        }
        let end = seq.saturating_add(len as u64);
        end.saturating_sub(*base) <= window
    }

    /// The holder has written everything before `seq`.
    pub fn written(&mut self, seq: u64) {
        self.base = Some(self.base.unwrap_or(0).max(seq));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: usize = INPUT_WINDOW as usize;

    #[test]
    fn a_view_may_type_one_window_ahead_and_no_more() {
        let mut typed = Typed::default();
        assert!(typed.passes(0, WINDOW, false, INPUT_WINDOW));
        assert!(typed.passes(0, WINDOW, false, INPUT_WINDOW), "again, after a cut");
        assert!(!typed.passes(INPUT_WINDOW, 1, false, INPUT_WINDOW));
        typed.written(10);
        assert!(typed.passes(INPUT_WINDOW, 10, false, INPUT_WINDOW));
        assert!(!typed.passes(INPUT_WINDOW, 11, false, INPUT_WINDOW));
    }

    #[test]
    fn a_holder_may_open_the_window_as_wide_as_we_carry_and_never_close_it() {
        assert_eq!([0, 1, u64::MAX].map(window), [INPUT_WINDOW, INPUT_WINDOW, PLAIN_INPUT_WINDOW]);
        let mut typed = Typed::default();
        assert!(typed.passes(0, PLAIN_INPUT_WINDOW as usize, false, window(u64::MAX)));
        assert!(!typed.passes(PLAIN_INPUT_WINDOW, 1, false, window(u64::MAX)));
    }

    #[test]
    fn a_view_that_comes_back_goes_on_where_it_was() {
        let mut typed = Typed::default();
        assert!(typed.passes(1 << 40, WINDOW, false, INPUT_WINDOW), "another manager saw the rest");
        let mut typed = Typed::default();
        typed.written(1 << 40);
        assert!(typed.passes((1 << 40) - 5, WINDOW, false, INPUT_WINDOW));
    }

    #[test]
    fn what_was_withdrawn_fills_no_window() {
        let mut typed = Typed::default();
        assert!(typed.passes(0, 100, false, INPUT_WINDOW));
        assert!(!typed.clone().passes(10 * INPUT_WINDOW, 1, false, INPUT_WINDOW));
        assert!(typed.passes(10 * INPUT_WINDOW, 1, true, INPUT_WINDOW));
        assert!(!typed.passes(11 * INPUT_WINDOW + 1, 1, false, INPUT_WINDOW));
    }

    #[test]
    fn no_number_is_too_large() {
        let mut typed = Typed::default();
        assert!(typed.passes(u64::MAX, 5, true, INPUT_WINDOW));
        typed.written(u64::MAX);
        assert!(typed.passes(0, 1, false, INPUT_WINDOW));
    }
}
