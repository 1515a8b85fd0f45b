//! What a job inherits beside its environment, when that is not what its holder has: umask, priority, limits. It goes from
//! `serve` to the holder in one variable.

use crate::platform::{self, NOFILE};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sessd_proto::messages::{Inherited, Limit};

/// The variable; the job does not get it.
pub const VARIABLE: &str = "SESSD_JOB_INHERITS";

/// The limit on open descriptors, as it is now.
pub fn descriptor_limit() -> Limit {
    let limit = getrlimit(Resource::Nofile);
    Limit { resource: NOFILE, soft: limit.current, hard: limit.maximum }
}

/// What people know by name and programs fail without.
const WHAT: [(Resource, &str); 9] = [
    (Resource::Cpu, "seconds of processor time"),
    (Resource::Fsize, "bytes a file"),
    (Resource::Data, "bytes of data"),
    (Resource::Stack, "bytes of stack"),
    (Resource::Core, "bytes of core file"),
    (Resource::Nproc, "processes"),
    (Resource::Nofile, "open files"),
    (Resource::Memlock, "bytes of locked memory"),
    (Resource::As, "bytes of address space"),
];

/// As text, for the variable.
pub fn to_text(inherited: &Inherited) -> String {
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let mut words = Vec::new();
    words.extend(inherited.umask.map(|umask| format!("u{umask}")));
    words.extend(inherited.nice.map(|nice| format!("n{nice}")));
    words.extend(
        inherited.limits.iter().map(|l| format!("{}={}:{}", l.resource, number(l.soft), number(l.hard))),
    );
    words.join(" ")
}

/// From the text; what is not understood is left out.
pub fn from_text(text: &str) -> Inherited {
    let mut inherited = Inherited::default();
    for word in text.split(' ') {
        if let Some(umask) = word.strip_prefix('u') {
            inherited.umask = umask.parse().ok();
        } else if let Some(nice) = word.strip_prefix('n') {
            inherited.nice = nice.parse().ok();
        } else if let Some((resource, (soft, hard))) =
            word.split_once('=').and_then(|(resource, rest)| Some((resource, rest.split_once(':')?)))
        {
            let number = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
            if let (Ok(resource), Some(soft), Some(hard)) = (resource.parse(), number(soft), number(hard)) {
                inherited.limits.push(Limit { resource, soft, hard });
            }
        }
    }
    inherited
}

/// What the holder was told of its job.
pub fn told() -> Inherited {
    from_text(&std::env::var(VARIABLE).unwrap_or_default())
}

/// One that can be carried out between fork and exec.
#[derive(Debug, Clone, Default)]
pub struct Ready {
    umask: Option<u32>,
    nice: Option<i32>,
    /// As told, and as far as this process may go.
    limits: Vec<(Resource, Rlimit, Rlimit)>,
}

impl Ready {
    /// Makes it ready.
    pub fn new(inherited: &Inherited) -> Self {
        let limits = inherited.limits.iter().filter_map(|limit| {
            let resource = platform::resource(limit.resource)?;
            let told = Rlimit { current: limit.soft, maximum: limit.hard };
            let lower = |a: Option<u64>, b: Option<u64>| match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            let own = getrlimit(resource);
            let maximum = lower(limit.hard, own.maximum);
            Some((resource, told, Rlimit { current: lower(limit.soft, maximum), maximum }))
        });
        Self { umask: inherited.umask, nice: inherited.nice, limits: limits.collect() }
    }

    /// What is told and cannot be carried out, one sentence.
    pub fn shortfall(&self) -> Option<String> {
        let number = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
        let less: Vec<String> = self
            .limits
            .iter()
            .filter(|(_, told, possible)| told.current != possible.current)
            .filter_map(|(resource, told, possible)| {
                let what = WHAT.iter().find(|(of, _)| of == resource)?.1;
                Some(format!("{} {what} instead of {}", number(possible.current), number(told.current)))
            })
            .collect();
        if less.is_empty() {
            return None;
        }
        Some(format!(
            "the manager was started under lower limits than yours, so the job has {}; \
             `sessd daemon restart` from here raises that for new sessions",
            less.join(", ")
        ))
    }

    /// Carries it out, as far as this process may. Only system calls: nothing allocates.
    pub fn apply(&self) {
        if let Some(umask) = self.umask {
            let _ = rustix::process::umask(Mode::from_raw_mode(umask & 0o777));
        }
        if let Some(nice) = self.nice {
            // Going before others again is for those who may.
            let _ = rustix::process::setpriority_process(None, nice);
        }
        for (resource, told, possible) in &self.limits {
            if setrlimit(*resource, *told).is_err() {
                let _ = setrlimit(*resource, *possible);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_back_and_nonsense_is_left_out() {
        let inherited = Inherited {
            umask: Some(0o27),
            nice: Some(-5),
            limits: vec![
                Limit { resource: 7, soft: Some(256), hard: None },
                Limit { resource: 9, soft: None, hard: None },
            ],
        };
        assert_eq!(from_text(&to_text(&inherited)), inherited);
        assert_eq!(to_text(&Inherited::default()), "");
        for nonsense in ["", "u", "nx", "7=1", "7=1:x", "=:", "7", "9=-1:2"] {
            assert_eq!(from_text(nonsense), Inherited::default(), "{nonsense}");
        }
    }

    #[test]
    fn a_limit_above_ours_becomes_ours() {
        let own = getrlimit(Resource::Core);
        let Some(hard) = own.maximum else { return };
        let told = Limit { resource: 4, soft: None, hard: None };
        let ready = Ready::new(&Inherited { limits: vec![told], ..Inherited::default() });
        assert_eq!(ready.limits[0].2.maximum, Some(hard));
    }

    #[test]
    fn a_limit_that_cannot_be_had_is_said_and_one_that_can_is_not() {
        let limit = |current| Rlimit { current, maximum: current };
        let ready = |told, possible| Ready {
            limits: vec![(Resource::Nofile, limit(told), limit(possible))],
            ..Ready::default()
        };
        assert_eq!(ready(Some(1024), Some(1024)).shortfall(), None);
        let said = ready(Some(65536), Some(4096)).shortfall().unwrap();
        assert!(said.contains("4096 open files instead of 65536;"), "{said}");
        let said = ready(None, Some(4096)).shortfall().unwrap();
        assert!(said.contains("4096 open files instead of unlimited;"), "{said}");
    }
}
