//! The parameters on the host. The framework keeps tensors only inside a compiled session, so each session uploads its
//! own copy from here, and a session that trains gives the changed values back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use arena_runner::architecture::Parameter;
use arena_runner::{Parameters, Result, Weights};
use meganeura::Session;

/// Every parameter of a loaded model, by its public name.
pub struct Store {
    values: RefCell<BTreeMap<String, Vec<f32>>>,
    /// The session whose optimizer has the newer values, while it lives.
    newer: RefCell<Weak<RefCell<Session>>>,
}

impl Store {
    /// Reads every parameter from the weights file.
    ///
    /// # Errors
    /// `invalid_weights`, naming the tensor that is missing or of another shape or type.
    pub fn load(parameters: &[Parameter], weights: &Weights) -> Result<Self> {
        let read = |p: &Parameter| Ok((p.name.clone(), weights.f32(&p.name, &p.shape)?));
        let values = parameters.iter().map(read).collect::<Result<_>>()?;
        Ok(Self { values: RefCell::new(values), newer: RefCell::default() })
    }

    /// The number of scalars and their bytes.
    pub fn size(&self) -> Parameters {
        let count = self.values.borrow().values().map(|v| v.len() as u64).sum();
        Parameters { count, bytes: count * size_of::<f32>() as u64 }
    }

    /// Gives the current values of `name` to `take`.
    pub fn with<T>(&self, name: &str, take: impl FnOnce(&[f32]) -> T) -> T {
        take(&self.values.borrow()[name])
    }

    /// Notes that `session` is about to change the parameters.
    pub fn follow(&self, session: &Rc<RefCell<Session>>) {
        *self.newer.borrow_mut() = Rc::downgrade(session);
    }

    /// Takes over what the followed session has changed, if it still lives; it must call this before it goes.
    pub fn sync(&self) {
        let Some(session) = self.newer.borrow().upgrade() else { return };
        let session = session.borrow();
        let mut held = self.values.borrow_mut();
        let changed: Vec<String> = held.keys().filter(|name| session.has_param_grad(name)).cloned().collect();
        let names: Vec<&str> = changed.iter().map(String::as_str).collect();
        for (name, values) in changed.iter().zip(session.read_params(&names)) {
            held.insert(name.clone(), values);
        }
    }
}
