//! Where a session's requests wait for their turn at the core.
//!
//! All sessions ask one core, which answers in the order of asking. A client may send hundreds of requests at one go,
//! and if all of them were at the core, everybody else would wait behind them. So a session has a few there at a time,
//! and the others wait here, in their order. What they weigh depends on what they may cost:
//!
//! | request | at the core at a time |
//! | --- | --- |
//! | may have a large answer: monitors and their conditions, transactions that read rows | [`MAX_READS`] |
//! | everything else | [`MAX_REST`] |
//! | transactions that may wait for a condition | any number: what they wait for may be behind them |
//!
//! What concerns the session alone, an echo or the cancellation of a request, is not kept waiting by these.

use std::collections::VecDeque;

use serde_json::Value;

use super::call::QueuedCall;
use crate::event::Request;
use crate::server::limits::cost::{Cost, MAX_READS, MAX_REST};

/// See the module.
#[derive(Debug, Default)]
pub struct RequestQueue {
    calls: VecDeque<QueuedCall>,
    /// How many are at the core.
    reads: usize,
    rest: usize,
}

impl RequestQueue {
    /// How many wait here.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// A call comes last.
    pub fn push(&mut self, call: QueuedCall) {
        self.calls.push_back(call);
    }

    /// Calls that came before all of these.
    pub fn push_front(&mut self, calls: Vec<QueuedCall>) {
        for call in calls.into_iter().rev() {
            self.calls.push_front(call);
        }
    }

    /// The first, if its turn has come: it goes to the core.
    pub fn next(&mut self) -> Option<QueuedCall> {
        match self.calls.front()?.cost {
            Cost::Read if self.reads < MAX_READS => self.reads += 1,
            Cost::Rest if self.rest < MAX_REST => self.rest += 1,
            Cost::Wait => {}
            Cost::Read | Cost::Rest => return None,
        }
        self.calls.pop_front()
    }

    /// The core has answered one of these.
    pub fn answered(&mut self, cost: Cost) {
        match cost {
            Cost::Read => self.reads -= 1,
            Cost::Rest => self.rest -= 1,
            Cost::Wait => {}
        }
    }

    /// Takes out the transaction of this name.
    pub fn cancel(&mut self, id: &Value) -> Option<QueuedCall> {
        let is_meant =
            |call: &QueuedCall| call.id == *id && matches!(call.request, Request::Transact { .. });
        let index = self.calls.iter().position(is_meant)?;
        self.calls.remove(index)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ovsdb::schema::DatabaseSchema;
    use ovsdb::{Transaction, Uuid};
    use serde_json::json;

    use super::super::call::Kind;
    use super::*;
    use crate::session::{Consistency, DatabaseId};

    fn schema() -> Arc<DatabaseSchema> {
        let schema = json!({"name": "T", "version": "1.0.0", "tables": {
            "A": {"columns": {"n": {"type": "integer"}}, "isRoot": true}}});
        Arc::new(DatabaseSchema::from_json(&schema).unwrap())
    }

    fn call(id: usize, operations: &Value) -> QueuedCall {
        let operations = operations.as_array().unwrap();
        let request = Request::Transact {
            database: DatabaseId::Main,
            transaction: Transaction::from_json(&schema(), operations, &mut Uuid::new_v4),
            name: None,
            lock_holders: Vec::new(),
            consistency: Consistency::default(),
        };
        QueuedCall {
            id: json!(id),
            bytes: 1,
            cost: Cost::of(&request),
            request,
            kind: Kind::Plain,
        }
    }

    fn select() -> Value {
        json!({"op": "select", "table": "A", "where": []})
    }

    fn insert() -> Value {
        json!({"op": "insert", "table": "A", "row": {"n": 1}})
    }

    fn wait(timeout: Option<u64>) -> Value {
        let mut wait = json!({"op": "wait", "table": "A", "where": [], "columns": ["n"], "until": "==", "rows": []});
        if let Some(timeout) = timeout {
            wait["timeout"] = json!(timeout);
        }
        wait
    }

    /// The names of those whose turn has come.
    fn passed(queue: &mut RequestQueue) -> Vec<usize> {
        let calls = std::iter::from_fn(|| queue.next());
        calls
            .map(|call| serde_json::from_value(call.id).unwrap())
            .collect()
    }

    #[test]
    fn costs_are_told_from_the_operations() {
        for (operations, cost) in [
            (json!([]), Cost::Rest),
            (json!([insert()]), Cost::Rest),
            (json!([insert(), select()]), Cost::Read),
            (json!([wait(Some(0)), insert()]), Cost::Rest),
            (json!([wait(Some(0)), select()]), Cost::Read),
            (json!([wait(Some(1)), insert()]), Cost::Wait),
            (json!([insert(), wait(None)]), Cost::Wait),
        ] {
            let call = call(0, &operations);
            assert_eq!(Cost::of(&call.request), cost, "{operations}");
        }
    }

    #[test]
    fn a_few_are_at_the_core_and_the_others_follow_in_their_order() {
        for (operation, most, cost) in [
            (select(), MAX_READS, Cost::Read),
            (insert(), MAX_REST, Cost::Rest),
        ] {
            let mut queue = RequestQueue::default();
            for id in 0..most + 10 {
                queue.push(call(id, &json!([operation])));
            }
            assert_eq!(passed(&mut queue), Vec::from_iter(0..most));
            assert_eq!(queue.len(), 10);
            queue.answered(cost);
            queue.answered(cost);
            assert_eq!(passed(&mut queue), [most, most + 1]);
            assert!(passed(&mut queue).is_empty());
        }
    }

    #[test]
    fn nobody_overtakes() {
        let mut queue = RequestQueue::default();
        for id in 0..MAX_READS + 1 {
            queue.push(call(id, &json!([select()])));
        }
        queue.push(call(100, &json!([insert()])));
        queue.push_front(vec![
            call(200, &json!([insert()])),
            call(201, &json!([select()])),
        ]);
        assert_eq!(passed(&mut queue), [200, 201, 0, 1, 2]);
        queue.answered(Cost::Read);
        queue.answered(Cost::Read);
        assert_eq!(passed(&mut queue), [3, 4, 100]);
    }

    #[test]
    fn those_that_wait_keep_nobody_from_the_core() {
        let mut queue = RequestQueue::default();
        for id in 0..1000 {
            queue.push(call(id, &json!([wait(None)])));
        }
        queue.push(call(1000, &json!([insert()])));
        assert_eq!(passed(&mut queue), Vec::from_iter(0..=1000));
    }

    #[test]
    fn what_is_still_queued_can_be_cancelled() {
        let mut queue = RequestQueue::default();
        for id in 0..MAX_READS + 3 {
            queue.push(call(id, &json!([select()])));
        }
        assert_eq!(passed(&mut queue).len(), MAX_READS);
        assert!(queue.cancel(&json!(0)).is_none(), "it is at the core");
        assert_eq!(
            queue.cancel(&json!(MAX_READS + 1)).unwrap().id,
            json!(MAX_READS + 1)
        );
        (0..MAX_READS).for_each(|_| queue.answered(Cost::Read));
        assert_eq!(passed(&mut queue), [MAX_READS, MAX_READS + 2]);
    }
}
