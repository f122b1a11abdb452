//! Functions that Kubernetes adds to CEL.

use std::{cmp::Ordering, sync::Arc};

use cel::{ExecutionError, Value as Cel, extractors::This};
use regex::Regex;

fn pattern(text: &str) -> Result<Regex, ExecutionError> {
    Regex::new(text).map_err(|error| ExecutionError::function_error("find", error))
}

pub(super) fn find(This(text): This<Arc<String>>, regex: Arc<String>) -> Result<Cel, ExecutionError> {
    Ok(Cel::from(pattern(&regex)?.find(&text).map_or("", |found| found.as_str())))
}

pub(super) fn find_all(This(text): This<Arc<String>>, regex: Arc<String>) -> Result<Cel, ExecutionError> {
    let found: Vec<Cel> = pattern(&regex)?.find_iter(&text).map(|found| Cel::from(found.as_str())).collect();
    Ok(Cel::from(found))
}

fn compare(a: &Cel, b: &Cel) -> Result<Ordering, ExecutionError> {
    a.partial_cmp(b).ok_or_else(|| ExecutionError::ValuesNotComparable(a.clone(), b.clone()))
}

pub(super) fn is_sorted(This(list): This<Arc<Vec<Cel>>>) -> Result<bool, ExecutionError> {
    for pair in list.windows(2) {
        if let [a, b] = pair
            && compare(a, b)?.is_gt()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn sum(This(list): This<Arc<Vec<Cel>>>) -> Result<Cel, ExecutionError> {
    let overflow = || ExecutionError::function_error("sum", "integer overflow");
    list.iter().try_fold(Cel::Int(0), |total, item| match (total, item) {
        (Cel::Int(a), Cel::Int(b)) => a.checked_add(*b).map(Cel::Int).ok_or_else(overflow),
        (Cel::Int(0), Cel::Float(b)) => Ok(Cel::Float(*b)),
        (Cel::Float(a), Cel::Float(b)) => Ok(Cel::Float(a + b)),
        (Cel::Int(0), Cel::Duration(b)) => Ok(Cel::Duration(*b)),
        (Cel::Duration(a), Cel::Duration(b)) => a.checked_add(b).map(Cel::Duration).ok_or_else(overflow),
        (a, b) => Err(ExecutionError::ValuesNotComparable(a, b.clone())),
    })
}

fn extreme(name: &str, list: &[Cel], wanted: Ordering) -> Result<Cel, ExecutionError> {
    let mut items = list.iter();
    let first = items.next().ok_or_else(|| ExecutionError::function_error(name, "called on empty list"))?;
    let mut best = first;
    for item in items {
        if compare(item, best)? == wanted {
            best = item;
        }
    }
    Ok(best.clone())
}

pub(super) fn min(This(list): This<Arc<Vec<Cel>>>) -> Result<Cel, ExecutionError> {
    extreme("min", &list, Ordering::Less)
}

pub(super) fn max(This(list): This<Arc<Vec<Cel>>>) -> Result<Cel, ExecutionError> {
    extreme("max", &list, Ordering::Greater)
}
