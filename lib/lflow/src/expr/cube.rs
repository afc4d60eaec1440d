//! [`Cube`]: a conjunction of masked comparisons, at most one for each [`Base`].

use smallvec::SmallVec;

use crate::symbols::Base;

/// `packet[base] & mask == value`; the mask is not zero and the value lies within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// The storage that is looked at.
    pub base: Base,
    /// The bits that count.
    pub mask: u128,
    /// What they must be.
    pub value: u128,
}

/// Terms that must all hold, ordered by base; none, every packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cube {
    terms: SmallVec<[Term; 3]>,
}

impl Cube {
    /// The terms, ordered by base.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The term about a base.
    pub fn get(&self, base: Base) -> Option<&Term> {
        let at = self
            .terms
            .binary_search_by_key(&base, |term| term.base)
            .ok()?;
        Some(&self.terms[at])
    }

    /// True when every packet matches.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Adds a term. False when no packet can match any more.
    #[must_use]
    pub fn constrain(&mut self, term: Term) -> bool {
        match self.terms.binary_search_by_key(&term.base, |t| t.base) {
            Ok(at) => {
                let old = &mut self.terms[at];
                let agree = (old.value ^ term.value) & old.mask & term.mask == 0;
                old.mask |= term.mask;
                old.value |= term.value;
                agree
            }
            Err(at) => {
                self.terms.insert(at, term);
                true
            }
        }
    }

    /// Both cubes at once, or nothing when they contradict each other.
    pub fn and(&self, other: &Cube) -> Option<Cube> {
        let mut both = self.clone();
        other
            .terms
            .iter()
            .all(|term| both.constrain(*term))
            .then_some(both)
    }

    /// True when each packet that matches this cube matches `other` too.
    pub fn implies(&self, other: &Cube) -> bool {
        other.terms.iter().all(|wide| {
            self.get(wide.base).is_some_and(|term| {
                term.mask & wide.mask == wide.mask && term.value & wide.mask == wide.value
            })
        })
    }

    /// The terms for which `keep` holds.
    pub fn filter(&self, mut keep: impl FnMut(&Term) -> bool) -> Cube {
        Cube {
            terms: self
                .terms
                .iter()
                .copied()
                .filter(|term| keep(term))
                .collect(),
        }
    }

    /// What this cube says beyond `known`: bits that `known` fixes alike are left out.
    pub fn without(&self, known: &Cube) -> Cube {
        let rest = self.terms.iter().filter_map(|term| {
            let fixed = known
                .get(term.base)
                .map_or(0, |k| k.mask & !(k.value ^ term.value));
            let mask = term.mask & !fixed;
            // What the switch knows only as a whole is not cut into pieces.
            let mask = if mask != 0 && !term.base.maskable() {
                term.mask
            } else {
                mask
            };
            (mask != 0).then_some(Term {
                base: term.base,
                mask,
                value: term.value & mask,
            })
        });
        Cube {
            terms: rest.collect(),
        }
    }
}

impl From<Term> for Cube {
    fn from(term: Term) -> Self {
        Cube {
            terms: SmallVec::from_iter([term]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cube(terms: &[(Base, u128, u128)]) -> Option<Cube> {
        let mut cube = Cube::default();
        let ok = terms
            .iter()
            .all(|&(base, value, mask)| cube.constrain(Term { base, mask, value }));
        ok.then_some(cube)
    }

    #[test]
    fn conjunction_and_implication() {
        let low = cube(&[(Base::Reg0, 1, 3)]).unwrap();
        let high = cube(&[(Base::Reg0, 4, 12), (Base::EthType, 0x800, 0xffff)]).unwrap();
        let both = low.and(&high).unwrap();
        assert_eq!(
            both.get(Base::Reg0).map(|t| (t.value, t.mask)),
            Some((5, 15))
        );
        assert!(both.implies(&low) && both.implies(&high) && !low.implies(&both));
        assert_eq!(both.without(&low), high);
        assert_eq!(cube(&[(Base::Reg0, 1, 1), (Base::Reg0, 0, 1)]), None);
        assert!(low.implies(&Cube::default()));
    }
}
