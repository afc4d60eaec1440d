//! Who reads what: cells, units, and the edges between them.
//!
//! Every edge is in two lists: the doubly linked list of its cell's readers, and the singly linked list of its unit's
//! reads. Adding an edge and dropping a unit's edges cost a constant for each edge, however many others the cell has. A cell
//! is known here only while somebody reads it.

use std::hash::Hash;

use crate::places::{Places, hash};

/// So many cells are remembered while one unit's reads are taken up.
const RECENT: usize = 64;

/// No edge, cell or unit.
pub(crate) const NONE: u32 = u32::MAX;

struct Edge {
    cell: u32,
    unit: u32,
    previous_of_cell: u32,
    next_of_cell: u32,
    next_of_unit: u32,
}

struct CellNode<C> {
    cell: C,
    first_edge: u32,
}

/// The bipartite graph of cells and their readers.
pub(crate) struct Graph<C> {
    /// Where each cell stands in `cells`.
    ids: Places,
    cells: Vec<CellNode<C>>,
    free_cells: Vec<u32>,
    edges: Vec<Edge>,
    /// The head of the list of free edges, linked by `next_of_unit`.
    free_edge: u32,
    edge_count: usize,
}

impl<C: Copy + Eq + Hash> Graph<C> {
    pub(crate) fn new() -> Self {
        Self {
            ids: Places::default(),
            cells: Vec::new(),
            free_cells: Vec::new(),
            edges: Vec::new(),
            free_edge: NONE,
            edge_count: 0,
        }
    }

    /// How many cells are read by somebody, and how many reads there are.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.ids.len(), self.edge_count)
    }

    /// Makes `cells` (which may repeat) what `unit` reads. `first` is the unit's list; returns its new head.
    pub(crate) fn relink(&mut self, unit: u32, first: u32, cells: &[C], ids: &mut Vec<u32>) -> u32 {
        ids.clear();
        // A unit of many parts reads the same cells for each: one look at the table is enough.
        let mut recent = [None; RECENT];
        for cell in cells {
            let hash = hash(cell);
            let slot = &mut recent[hash as usize % RECENT];
            if *slot != Some(cell) {
                *slot = Some(cell);
                ids.push(self.intern(*cell, hash));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        if self.reads_exactly(first, ids) {
            return first;
        }
        // New edges before old ones go, so that cells which stay read are not forgotten and learned again.
        let mut head = NONE;
        for cell in ids.iter().rev() {
            head = self.link(*cell, unit, head);
        }
        self.unlink_all(first);
        head
    }

    /// Forgets everything that a unit reads.
    pub(crate) fn unlink_all(&mut self, first: u32) {
        let mut edge = first;
        while edge != NONE {
            let next = self.edges[edge as usize].next_of_unit;
            self.unlink(edge);
            edge = next;
        }
    }

    /// Calls `visit` with each unit that reads `cell`.
    pub(crate) fn readers(&self, cell: C, mut visit: impl FnMut(u32)) {
        let Some(id) = self.find(&cell, hash(&cell)) else {
            return;
        };
        let mut edge = self.cells[id as usize].first_edge;
        while edge != NONE {
            let at = &self.edges[edge as usize];
            visit(at.unit);
            edge = at.next_of_cell;
        }
    }

    fn intern(&mut self, cell: C, hash: u64) -> u32 {
        if let Some(id) = self.find(&cell, hash) {
            return id;
        }
        let node = CellNode {
            cell,
            first_edge: NONE,
        };
        let id = if let Some(id) = self.free_cells.pop() {
            self.cells[id as usize] = node;
            id
        } else {
            self.cells.push(node);
            u32::try_from(self.cells.len() - 1).expect("fewer than 2^32 cells fit in memory")
        };
        self.ids.insert(hash, id);
        id
    }

    fn find(&self, cell: &C, hash: u64) -> Option<u32> {
        let is_it = |id: u32| self.cells[id as usize].cell == *cell;
        self.ids.find(hash, is_it)
    }

    /// Edges are linked in ascending order of cells, so an unchanged set of reads is an equal sequence.
    fn reads_exactly(&self, first: u32, ids: &[u32]) -> bool {
        let mut edge = first;
        for id in ids {
            if edge == NONE || self.edges[edge as usize].cell != *id {
                return false;
            }
            edge = self.edges[edge as usize].next_of_unit;
        }
        edge == NONE
    }

    fn link(&mut self, cell: u32, unit: u32, next_of_unit: u32) -> u32 {
        let next_of_cell = self.cells[cell as usize].first_edge;
        let edge = Edge {
            cell,
            unit,
            previous_of_cell: NONE,
            next_of_cell,
            next_of_unit,
        };
        let id = if self.free_edge == NONE {
            self.edges.push(edge);
            u32::try_from(self.edges.len() - 1).expect("fewer than 2^32 reads fit in memory")
        } else {
            let id = self.free_edge;
            self.free_edge = self.edges[id as usize].next_of_unit;
            self.edges[id as usize] = edge;
            id
        };
        if next_of_cell != NONE {
            self.edges[next_of_cell as usize].previous_of_cell = id;
        }
        self.cells[cell as usize].first_edge = id;
        self.edge_count += 1;
        id
    }

    fn unlink(&mut self, id: u32) {
        let Edge {
            cell,
            previous_of_cell,
            next_of_cell,
            ..
        } = self.edges[id as usize];
        if next_of_cell != NONE {
            self.edges[next_of_cell as usize].previous_of_cell = previous_of_cell;
        }
        if previous_of_cell == NONE {
            self.cells[cell as usize].first_edge = next_of_cell;
        } else {
            self.edges[previous_of_cell as usize].next_of_cell = next_of_cell;
        }
        self.edges[id as usize].next_of_unit = self.free_edge;
        self.free_edge = id;
        self.edge_count -= 1;
        if self.cells[cell as usize].first_edge == NONE {
            let gone = hash(&self.cells[cell as usize].cell);
            self.ids.remove(gone, cell);
            self.free_cells.push(cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readers(graph: &Graph<char>, cell: char) -> Vec<u32> {
        let mut found = Vec::new();
        graph.readers(cell, |unit| found.push(unit));
        found.sort_unstable();
        found
    }

    #[test]
    fn reads_are_replaced_and_unread_cells_forgotten() {
        let mut graph = Graph::new();
        let mut scratch = Vec::new();
        let one = graph.relink(1, NONE, &['a', 'b', 'a'], &mut scratch);
        let two = graph.relink(2, NONE, &['b', 'c'], &mut scratch);
        assert_eq!(readers(&graph, 'b'), [1, 2]);
        assert_eq!(graph.size(), (3, 4));

        let same = graph.relink(1, one, &['b', 'a'], &mut scratch);
        assert_eq!(same, one, "an equal set of reads keeps its edges");

        let one = graph.relink(1, one, &['c'], &mut scratch);
        assert_eq!(readers(&graph, 'a'), []);
        assert_eq!(readers(&graph, 'b'), [2]);
        assert_eq!(readers(&graph, 'c'), [1, 2]);
        assert_eq!(graph.size(), (2, 3));

        graph.unlink_all(one);
        graph.unlink_all(two);
        assert_eq!(graph.size(), (0, 0));
    }
}
