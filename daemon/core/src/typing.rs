//! How much a view may have typed ahead. The holder closes the stream over which more than a window of one view comes, and
//! that stream is shared by all views of the session: so the manager holds each view to its window itself.

use sessd_proto::limits::INPUT_WINDOW;

/// One view's input, as far as the manager sees it pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Typed {
    /// Everything before this was written, withdrawn, or typed before we knew the view; none: it has typed nothing here.
    base: Option<u64>,
}

impl Typed {
    /// A frame of input passes: may it? `withdrawn`: what is missing before it never comes.
    #[must_use]
    pub fn passes(&mut self, seq: u64, len: usize, withdrawn: bool) -> bool {
        let base = self.base.get_or_insert(seq);
        if withdrawn {
            *base = seq.max(*base);
        }
        let end = seq.saturating_add(len as u64);
        end.saturating_sub(*base) <= INPUT_WINDOW
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
        assert!(typed.passes(0, WINDOW, false));
        assert!(typed.passes(0, WINDOW, false), "again, after a cut");
        assert!(!typed.passes(INPUT_WINDOW, 1, false));
        typed.written(10);
        assert!(typed.passes(INPUT_WINDOW, 10, false));
        assert!(!typed.passes(INPUT_WINDOW, 11, false));
    }

    #[test]
    fn a_view_that_comes_back_goes_on_where_it_was() {
        let mut typed = Typed::default();
        assert!(typed.passes(1 << 40, WINDOW, false), "another manager saw the rest");
        let mut typed = Typed::default();
        typed.written(1 << 40);
        assert!(typed.passes((1 << 40) - 5, WINDOW, false));
    }

    #[test]
    fn what_was_withdrawn_fills_no_window() {
        let mut typed = Typed::default();
        assert!(typed.passes(0, 100, false));
        assert!(!typed.clone().passes(10 * INPUT_WINDOW, 1, false));
        assert!(typed.passes(10 * INPUT_WINDOW, 1, true));
        assert!(!typed.passes(11 * INPUT_WINDOW + 1, 1, false));
    }

    #[test]
    fn no_number_is_too_large() {
        let mut typed = Typed::default();
        assert!(typed.passes(u64::MAX, 5, true));
        typed.written(u64::MAX);
        assert!(typed.passes(0, 1, false));
    }
}
