//! A session that is to go, and what is known of its job → the next step. The record stays, and is shown, until the host
//! has ended the job: what is out of reach runs on, and a row that is gone would hide it.

/// Where the link to the session's host stands, as far as a removal cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The link is up.
    Up,
    /// It is being dialled: soon it is the one or the other.
    Coming,
    /// The last attempt failed, or a person has to log in first.
    Out,
}

/// What is known of the session's job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// It has ended, and only what is left of it on the host remains.
    pub ended: bool,
    /// There is a stream to its holder.
    pub stream: bool,
    /// The host may have been told to start it.
    pub told: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nobody but us knows of it: the record goes.
    Forget,
    /// Its holder is asked to end the job.
    AskHolder,
    /// The host is asked to end the job, and looked at again.
    AskHost,
    /// The host is asked to forget what is left of the job.
    ForgetThere,
    /// The link decides soon.
    Await,
    /// The host does it when it is back.
    WhenBack,
    /// The user gives the host up: the record goes, and the job may live.
    GiveUp,
}

/// The next step. `given_up`: the user asked a second time, and by force.
pub fn step(job: Job, reach: Reach, given_up: bool) -> Step {
    match reach {
        _ if !job.told && !job.ended => Step::Forget,
        Reach::Up if job.ended => Step::ForgetThere,
        Reach::Up if job.stream => Step::AskHolder,
        Reach::Up => Step::AskHost,
        Reach::Out if given_up => Step::GiveUp,
        Reach::Out => Step::WhenBack,
        Reach::Coming => Step::Await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        const RUNS: Job = Job { ended: false, stream: true, told: true };
        const THERE: Job = Job { ended: false, stream: false, told: true };
        const OVER: Job = Job { ended: true, stream: false, told: true };
        const NEVER: Job = Job { ended: false, stream: false, told: false };
        for (job, reach, given_up, want) in [
            (RUNS, Reach::Up, false, Step::AskHolder),
            (RUNS, Reach::Up, true, Step::AskHolder),
            (THERE, Reach::Up, false, Step::AskHost),
            (THERE, Reach::Up, true, Step::AskHost),
            (THERE, Reach::Coming, false, Step::Await),
            (THERE, Reach::Coming, true, Step::Await),
            (THERE, Reach::Out, false, Step::WhenBack),
            (THERE, Reach::Out, true, Step::GiveUp),
            (OVER, Reach::Up, false, Step::ForgetThere),
            (OVER, Reach::Out, false, Step::WhenBack),
            (NEVER, Reach::Up, false, Step::Forget),
            (NEVER, Reach::Out, false, Step::Forget),
            (NEVER, Reach::Coming, true, Step::Forget),
        ] {
            assert_eq!(step(job, reach, given_up), want, "{job:?} {reach:?} {given_up}");
        }
    }
}
