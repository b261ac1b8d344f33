//! A value that cannot be printed: no `Debug`, no `Display`, no `Serialize`, wiped when dropped.

use zeroize::Zeroize;

/// Holds a secret. The only way to the value is [`Secret::expose`], which a reviewer can search for.
///
/// ```compile_fail
/// let secret = kyros_shared_config::Secret::new("hunter2".to_owned());
/// println!("{secret:?}");
/// ```
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value; the caller should not keep another copy.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Never pass it to a log, an error or a metric.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
