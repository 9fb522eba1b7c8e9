//! Saying what was asked, as things are after a round.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::checks;
use super::super::events::Health;
use super::super::overview::overview;
use super::super::receipts::Known;
use super::Owner;
use crate::control::{self, Explained, Question, Request, Selection, Status, Watching};
use crate::publish::Readiness;

impl Owner {
    /// Says what was asked, as things are after the round.
    pub(super) fn reply(&mut self, questions: Vec<Request>) {
        let now = (self.clock)().monotonic;
        let mut receipts = std::mem::take(&mut self.receipts);
        receipts.give(self.known(), now);
        self.receipts = receipts;
        for question in questions {
            // Whoever asked may be gone: then there is nobody to tell.
            match question {
                Request::Status(selection, reply) => _ = reply.send(self.status(&selection)),
                Request::Overview(selection, reply) => _ = reply.send(overview(&self.registry, &selection, now)),
                Request::Explain(question, reply) if !reply.is_closed() => {
                    let _ = reply.send(self.explained(&question));
                }
                // Nobody listens any more, or it was answered when it came in.
                Request::Explain(..) | Request::Wait(..) => {}
            }
        }
    }

    fn explained(&self, question: &Question) -> Result<Explained, String> {
        let explaining = || (self.explain)(&self.registry, &self.publisher.current(), question);
        // Nothing is changed by it, and no question may end what keeps the names.
        catch_unwind(AssertUnwindSafe(explaining))
            .unwrap_or_else(|_| Err("explaining it failed: a fault of ours, please report it".to_owned()))
    }

    fn known(&self) -> Known<'_> {
        let Self { files, registry, publisher, .. } = self;
        Known { files, registry, publisher, gathering: self.gathering }
    }

    fn status(&self, selection: &Selection) -> Status {
        let known = self.known();
        let snapshot = self.publisher.current();
        let (files, next) = known.files(selection);
        Status {
            directory: self.root.to_string_lossy().into_owned(),
            readiness: match snapshot.readiness {
                Readiness::Starting => control::Readiness::Starting,
                Readiness::Ready => control::Readiness::Ready,
            },
            generation: snapshot.generation,
            reached: self.publisher.reached(),
            serial: snapshot.serial,
            watching: match self.watches.health() {
                Health::Events => Watching::Events,
                Health::Polling => Watching::Polling,
            },
            frozen: self.files.frozen().map(ToOwned::to_owned),
            unread: known.unread(),
            counts: known.counts(),
            unready: checks::unready(&self.registry),
            files,
            next,
            changes: self.history.iter().rev().cloned().collect(),
        }
    }
}
