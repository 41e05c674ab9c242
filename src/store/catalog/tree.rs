//! Persistent trees: a change makes another tree that shares all but one path with the one before, so that each definition costs about
//! the same, however many there are.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// How much heavier one side of a node may be than the other.
const HEAVIER: usize = 3;

type Link<T> = Option<Arc<TreeNode<T>>>;

/// Items in an order that whoever changes and asks says, always the same. Its depth is logarithmic, whatever comes in whatever order.
pub(super) struct PersistentTree<T> {
    root: Link<T>,
}

struct TreeNode<T> {
    item: T,
    size: usize,
    left: Link<T>,
    right: Link<T>,
}

impl<T> Clone for PersistentTree<T> {
    fn clone(&self) -> PersistentTree<T> {
        PersistentTree { root: self.root.clone() }
    }
}

impl<T> Default for PersistentTree<T> {
    fn default() -> PersistentTree<T> {
        PersistentTree { root: None }
    }
}

impl<T: fmt::Debug + Clone> fmt::Debug for PersistentTree<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn size<T>(link: &Link<T>) -> usize {
    link.as_ref().map_or(0, |node| node.size)
}

fn node<T>(left: Link<T>, item: T, right: Link<T>) -> Link<T> {
    Some(Arc::new(TreeNode { size: size(&left) + 1 + size(&right), item, left, right }))
}

/// A node of two sides of which one may have become too heavy by one.
fn balanced<T: Clone>(left: Link<T>, item: T, right: Link<T>) -> Link<T> {
    let (l, r) = (size(&left), size(&right));
    if l + r <= 1 {
        return node(left, item, right);
    }
    match (&left, &right) {
        (_, Some(heavy)) if r > HEAVIER * l => match &heavy.left {
            Some(inner) if inner.size >= 2 * size(&heavy.right) => node(
                node(left, item, inner.left.clone()),
                inner.item.clone(),
                node(inner.right.clone(), heavy.item.clone(), heavy.right.clone()),
            ),
            inner => node(node(left, item, inner.clone()), heavy.item.clone(), heavy.right.clone()),
        },
        (Some(heavy), _) if l > HEAVIER * r => match &heavy.right {
            Some(inner) if inner.size >= 2 * size(&heavy.left) => node(
                node(heavy.left.clone(), heavy.item.clone(), inner.left.clone()),
                inner.item.clone(),
                node(inner.right.clone(), item, right),
            ),
            inner => node(heavy.left.clone(), heavy.item.clone(), node(inner.clone(), item, right)),
        },
        _ => node(left, item, right),
    }
}

fn inserted<T: Clone>(link: &Link<T>, new: T, order: &impl Fn(&T, &T) -> Ordering) -> Link<T> {
    let Some(at) = link else { return node(None, new, None) };
    match order(&new, &at.item) {
        Ordering::Less => balanced(inserted(&at.left, new, order), at.item.clone(), at.right.clone()),
        Ordering::Greater => balanced(at.left.clone(), at.item.clone(), inserted(&at.right, new, order)),
        Ordering::Equal => node(at.left.clone(), new, at.right.clone()),
    }
}

fn removed<T: Clone>(link: &Link<T>, old: &T, order: &impl Fn(&T, &T) -> Ordering) -> Link<T> {
    let at = link.as_ref()?;
    match order(old, &at.item) {
        Ordering::Less => balanced(removed(&at.left, old, order), at.item.clone(), at.right.clone()),
        Ordering::Greater => balanced(at.left.clone(), at.item.clone(), removed(&at.right, old, order)),
        Ordering::Equal => match without_first(&at.right) {
            None => at.left.clone(),
            Some((first, right)) => balanced(at.left.clone(), first, right),
        },
    }
}

fn without_first<T: Clone>(link: &Link<T>) -> Option<(T, Link<T>)> {
    let at = link.as_ref()?;
    Some(match without_first(&at.left) {
        None => (at.item.clone(), at.right.clone()),
        Some((first, left)) => (first, balanced(left, at.item.clone(), at.right.clone())),
    })
}

impl<T: Clone> PersistentTree<T> {
    pub fn len(&self) -> usize {
        size(&self.root)
    }

    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Puts an item in its place; one that is equal leaves it.
    pub fn insert(&mut self, item: T, order: impl Fn(&T, &T) -> Ordering) {
        self.root = inserted(&self.root, item, &order);
    }

    /// Takes the item out that is equal.
    pub fn remove(&mut self, item: &T, order: impl Fn(&T, &T) -> Ordering) {
        self.root = removed(&self.root, item, &order);
    }

    /// The last item that is not behind what is looked for; `order` says how an item stands to that.
    pub fn last_through(&self, order: impl Fn(&T) -> Ordering) -> Option<&T> {
        let (mut found, mut link) = (None, &self.root);
        while let Some(at) = link {
            match order(&at.item) {
                Ordering::Greater => link = &at.left,
                Ordering::Equal => return Some(&at.item),
                Ordering::Less => (found, link) = (Some(&at.item), &at.right),
            }
        }
        found
    }

    /// The first item that is not before what is looked for; `order` says how an item stands to that.
    pub fn first_from(&self, order: impl Fn(&T) -> Ordering) -> Option<&T> {
        let (mut found, mut link) = (None, &self.root);
        while let Some(at) = link {
            match order(&at.item) {
                Ordering::Less => link = &at.right,
                Ordering::Equal => return Some(&at.item),
                Ordering::Greater => (found, link) = (Some(&at.item), &at.left),
            }
        }
        found
    }

    /// All items, in order.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { front: TreePath::new(&self.root), back: TreePath::new(&self.root), left: size(&self.root) }
    }
}

/// The nodes on the way to the next item, from one end.
struct TreePath<'t, T> {
    nodes: Vec<&'t TreeNode<T>>,
    /// What is yet to be gone down into.
    next: Option<&'t Link<T>>,
}

impl<'t, T> TreePath<'t, T> {
    fn new(root: &'t Link<T>) -> TreePath<'t, T> {
        TreePath { nodes: Vec::new(), next: Some(root) }
    }

    fn step(
        &mut self,
        near: fn(&TreeNode<T>) -> &Link<T>,
        far: fn(&TreeNode<T>) -> &Link<T>,
    ) -> Option<&'t T> {
        let mut link = self.next.take();
        while let Some(Some(node)) = link {
            self.nodes.push(node);
            link = Some(near(node));
        }
        let node = self.nodes.pop()?;
        self.next = Some(far(node));
        Some(&node.item)
    }
}

/// The items of a tree, from both ends.
pub(super) struct Iter<'t, T> {
    front: TreePath<'t, T>,
    back: TreePath<'t, T>,
    left: usize,
}

impl<'t, T> Iterator for Iter<'t, T> {
    type Item = &'t T;

    fn next(&mut self) -> Option<&'t T> {
        self.left = self.left.checked_sub(1)?;
        self.front.step(|node| &node.left, |node| &node.right)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> DoubleEndedIterator for Iter<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.back.step(|node| &node.right, |node| &node.left)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn depth<T>(link: &Link<T>) -> usize {
        link.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    proptest! {
        #[test]
        fn it_holds_what_a_set_holds(changes in prop::collection::vec((any::<bool>(), 0..60u32), 0..200), seen in 0..62u32) {
            let (mut tree, mut set) = (PersistentTree::default(), BTreeSet::new());
            for (insert, item) in changes {
                let (before, kept) = (tree.clone(), set.clone());
                if insert {
                    tree.insert(item, u32::cmp);
                    set.insert(item);
                } else {
                    tree.remove(&item, u32::cmp);
                    set.remove(&item);
                }
                prop_assert!(before.iter().eq(&kept), "the one before does not change");
            }
            prop_assert!(tree.iter().eq(&set));
            prop_assert!(tree.iter().rev().eq(set.iter().rev()));
            prop_assert_eq!(tree.iter().count(), set.len());
            prop_assert_eq!(tree.first_from(|item| item.cmp(&seen)), set.range(seen..).next());
            prop_assert_eq!(tree.last_through(|item| item.cmp(&seen)), set.range(..=seen).next_back());
            let (mut ends, mut of_set) = (tree.iter(), set.iter());
            while let Some(item) = ends.next() {
                prop_assert_eq!(Some(item), of_set.next());
                prop_assert_eq!(ends.next_back(), of_set.next_back());
            }
        }
    }

    #[test]
    fn it_stays_flat_in_whatever_order_items_come_and_go() {
        let mut tree = PersistentTree::default();
        for item in 0..10_000u32 {
            tree.insert(item, u32::cmp);
        }
        assert!(depth(&tree.root) <= 30, "{}", depth(&tree.root));
        for item in (0..10_000).filter(|item| item % 10 != 0) {
            tree.remove(&item, u32::cmp);
        }
        assert_eq!(tree.iter().count(), 1000);
        assert!(depth(&tree.root) <= 24, "{}", depth(&tree.root));
    }
}
