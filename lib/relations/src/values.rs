//! What units say, typed for each relation and stored together.
//!
//! A feature declares a relation as a `static` and reads and says values by it. The store behind does not know the types: a
//! value travels to it as `Box<dyn Any>` and is compared there with what was said before, so that an equal value changes
//! nothing.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use incr::{Changes, Reads};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::{Cell, Key, Small};

/// What can be a value of a relation.
pub trait Value: PartialEq + Send + 'static {}
impl<V: PartialEq + Send + 'static> Value for V {}

/// The number of a relation, given when it is first asked for. A database's relations begin at [`FIRST_OF_ROWS`].
struct Id(OnceLock<u16>);

/// Relations with lower numbers are values; those of databases' rows begin here.
pub(crate) const FIRST_OF_ROWS: u16 = 1 << 10;

impl Id {
    const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn get(&self) -> u16 {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        *self.0.get_or_init(|| {
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            assert!(
                id < FIRST_OF_ROWS,
                "fewer relations than {FIRST_OF_ROWS} are declared"
            );
            id
        })
    }
}

/// A relation as it is known without its types.
pub trait Declared: Sync {
    /// What it is called in messages.
    fn name(&self) -> &'static str;
    /// Its number among all relations of the process.
    fn id(&self) -> u16;
    /// An empty store for it, if its values are stored here.
    #[doc(hidden)]
    fn store(&self) -> Option<Box<dyn Erased>>;
}

/// One value for each key.
pub struct Relation<K, V> {
    name: &'static str,
    id: Id,
    of: PhantomData<fn(K) -> V>,
}

impl<K: Small, V: Value> Relation<K, V> {
    /// A relation, to be put into a `static`.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            id: Id::new(),
            of: PhantomData,
        }
    }

    /// The cell of a key.
    pub fn cell(&self, key: K) -> Cell {
        Cell {
            relation: self.id.get(),
            key: key.pack(),
        }
    }
}

impl<K: Small, V: Value> Declared for Relation<K, V> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn id(&self) -> u16 {
        self.id.get()
    }

    fn store(&self) -> Option<Box<dyn Erased>> {
        Some(Box::new(One::<K, V>(FxHashMap::default())))
    }
}

/// Several members for each key, in ascending order: for what several units may say of one key, such as who claims an
/// address.
pub struct Bucket<K, M> {
    name: &'static str,
    id: Id,
    of: PhantomData<fn(K) -> M>,
}

impl<K: Small, M: Small> Bucket<K, M> {
    /// A relation, to be put into a `static`.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            id: Id::new(),
            of: PhantomData,
        }
    }

    /// The cell of a key.
    pub fn cell(&self, key: K) -> Cell {
        Cell {
            relation: self.id.get(),
            key: key.pack(),
        }
    }
}

impl<K: Small, M: Small> Declared for Bucket<K, M> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn id(&self) -> u16 {
        self.id.get()
    }

    fn store(&self) -> Option<Box<dyn Erased>> {
        Some(Box::new(Many::<K, M>(FxHashMap::default())))
    }
}

/// Any number of members for each key, which no unit ever reads: the program collects them, for instance for a column of a
/// row. What may be known is whether a key has any.
pub struct Set<K> {
    name: &'static str,
    id: Id,
    of: PhantomData<fn(K)>,
}

impl<K: Small> Set<K> {
    /// A relation, to be put into a `static`.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            id: Id::new(),
            of: PhantomData,
        }
    }

    /// The cell of a key.
    pub fn cell(&self, key: K) -> Cell {
        Cell {
            relation: self.id.get(),
            key: key.pack(),
        }
    }
}

impl<K: Small> Declared for Set<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn id(&self) -> u16 {
        self.id.get()
    }

    fn store(&self) -> Option<Box<dyn Erased>> {
        None
    }
}

/// How a change of a relation came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is as before.
    No,
    /// A key that had nothing has something.
    Came,
    /// A key has something else, or nothing any more.
    Yes,
}

/// A store whose types only its relation knows.
#[doc(hidden)]
pub trait Erased: Send {
    fn any(&self) -> &dyn Any;
    fn set(&mut self, key: Key, value: Box<dyn Any + Send>) -> Changed;
    fn remove(&mut self, key: Key) -> Changed;
    fn join(&mut self, key: Key, member: Key) -> Changed;
    fn leave(&mut self, key: Key, member: Key) -> Changed;
    fn holds(&self, key: Key) -> bool;
    fn len(&self) -> usize;
}

struct One<K, V>(FxHashMap<K, V>);

impl<K: Small, V: Value> Erased for One<K, V> {
    fn any(&self) -> &dyn Any {
        self
    }

    fn set(&mut self, key: Key, value: Box<dyn Any + Send>) -> Changed {
        let value = *value
            .downcast::<V>()
            .expect("a value is made for its relation");
        match self.0.insert(K::unpack(key), value) {
            None => Changed::Came,
            Some(old) if Some(&old) == self.0.get(&K::unpack(key)) => Changed::No,
            Some(_) => Changed::Yes,
        }
    }

    fn remove(&mut self, key: Key) -> Changed {
        match self.0.remove(&K::unpack(key)) {
            None => Changed::No,
            Some(_) => Changed::Yes,
        }
    }

    fn join(&mut self, _: Key, _: Key) -> Changed {
        Changed::No
    }

    fn leave(&mut self, _: Key, _: Key) -> Changed {
        Changed::No
    }

    fn holds(&self, key: Key) -> bool {
        self.0.contains_key(&K::unpack(key))
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

struct Many<K, M>(FxHashMap<K, SmallVec<[M; 2]>>);

impl<K: Small, M: Small> Erased for Many<K, M> {
    fn any(&self) -> &dyn Any {
        self
    }

    fn set(&mut self, _: Key, _: Box<dyn Any + Send>) -> Changed {
        Changed::No
    }

    fn remove(&mut self, _: Key) -> Changed {
        Changed::No
    }

    fn join(&mut self, key: Key, member: Key) -> Changed {
        let members = self.0.entry(K::unpack(key)).or_default();
        let member = M::unpack(member);
        let Err(place) = members.binary_search(&member) else {
            return Changed::No;
        };
        let came = members.is_empty();
        members.insert(place, member);
        if came { Changed::Came } else { Changed::Yes }
    }

    fn leave(&mut self, key: Key, member: Key) -> Changed {
        let key = K::unpack(key);
        let Some(members) = self.0.get_mut(&key) else {
            return Changed::No;
        };
        let Ok(place) = members.binary_search(&M::unpack(member)) else {
            return Changed::No;
        };
        members.remove(place);
        if members.is_empty() {
            self.0.remove(&key);
        }
        Changed::Yes
    }

    fn holds(&self, key: Key) -> bool {
        self.0.contains_key(&K::unpack(key))
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// The values of all relations.
#[derive(Default)]
pub struct Values {
    stores: Vec<Option<Box<dyn Erased>>>,
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self
            .stores
            .iter()
            .map(|store| store.as_ref().map(|store| store.len()));
        f.debug_list().entries(sizes).finish()
    }
}

impl Values {
    /// Makes room for a relation. Must be called for each before it is used.
    pub fn declare(&mut self, relation: &dyn Declared) {
        let place = usize::from(relation.id());
        if self.stores.len() <= place {
            self.stores.resize_with(place + 1, || None);
        }
        if self.stores[place].is_none() {
            self.stores[place] = relation.store();
        }
    }

    /// Whether there is something at a cell, for code that is no unit.
    pub fn holds(&self, cell: Cell) -> bool {
        self.stores
            .get(usize::from(cell.relation))
            .and_then(Option::as_ref)
            .is_some_and(|store| store.holds(cell.key))
    }

    /// The value at `key`, as a unit reads it.
    pub fn get<K: Small, V: Value, C: From<Cell> + Copy>(
        &self,
        reads: &Reads<C>,
        relation: &Relation<K, V>,
        key: K,
    ) -> Option<&V> {
        reads.note(relation.cell(key).into());
        self.peek(relation, key)
    }

    /// The value at `key`, for code that is no unit.
    pub fn peek<K: Small, V: Value>(&self, relation: &Relation<K, V>, key: K) -> Option<&V> {
        let store: &One<K, V> = self.store(relation.id())?;
        store.0.get(&key)
    }

    /// All values of a relation, in no particular order.
    pub fn iter<K: Small, V: Value>(
        &self,
        relation: &Relation<K, V>,
    ) -> impl Iterator<Item = (K, &V)> {
        let store: Option<&One<K, V>> = self.store(relation.id());
        store
            .into_iter()
            .flat_map(|store| store.0.iter().map(|(key, value)| (*key, value)))
    }

    /// The members at `key` in ascending order, as a unit reads them.
    pub fn members<K: Small, M: Small, C: From<Cell> + Copy>(
        &self,
        reads: &Reads<C>,
        bucket: &Bucket<K, M>,
        key: K,
    ) -> &[M] {
        reads.note(bucket.cell(key).into());
        self.peek_members(bucket, key)
    }

    /// The members at `key` in ascending order, for code that is no unit.
    pub fn peek_members<K: Small, M: Small>(&self, bucket: &Bucket<K, M>, key: K) -> &[M] {
        let store: Option<&Many<K, M>> = self.store(bucket.id());
        store
            .and_then(|store| store.0.get(&key))
            .map_or(&[], SmallVec::as_slice)
    }

    /// Sets a value whose type is that of the cell's relation. Nothing is told when it was equal.
    pub fn set<C: From<Cell>, U>(
        &mut self,
        changes: &mut Changes<C, U>,
        cell: Cell,
        value: Box<dyn Any + Send>,
    ) -> Changed {
        let changed = self.erased(cell.relation).set(cell.key, value);
        tell(changes, cell, changed)
    }

    /// Removes a value.
    pub fn remove<C: From<Cell>, U>(&mut self, changes: &mut Changes<C, U>, cell: Cell) -> Changed {
        let changed = self.erased(cell.relation).remove(cell.key);
        tell(changes, cell, changed)
    }

    /// Adds a member to a bucket.
    pub fn join<C: From<Cell>, U>(
        &mut self,
        changes: &mut Changes<C, U>,
        cell: Cell,
        member: Key,
    ) -> Changed {
        let changed = self.erased(cell.relation).join(cell.key, member);
        tell(changes, cell, changed)
    }

    /// Takes a member out of a bucket.
    pub fn leave<C: From<Cell>, U>(
        &mut self,
        changes: &mut Changes<C, U>,
        cell: Cell,
        member: Key,
    ) -> Changed {
        let changed = self.erased(cell.relation).leave(cell.key, member);
        tell(changes, cell, changed)
    }

    fn store<S: 'static>(&self, relation: u16) -> Option<&S> {
        self.stores
            .get(usize::from(relation))?
            .as_ref()?
            .any()
            .downcast_ref()
    }

    fn erased(&mut self, relation: u16) -> &mut dyn Erased {
        self.stores[usize::from(relation)]
            .as_deref_mut()
            .expect("relations are declared before they are used")
    }
}

fn tell<C: From<Cell>, U>(changes: &mut Changes<C, U>, cell: Cell, changed: Changed) -> Changed {
    if changed != Changed::No {
        changes.cell(cell.into());
    }
    changed
}
