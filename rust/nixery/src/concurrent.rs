//! Several requests at a time.

use std::future::Future;

use futures_util::{StreamExt, TryStreamExt, stream};

/// Requests to the storage at the same time, for one image.
const AT_ONCE: usize = 16;

/// The results of all `requests`, in their order, or the first error.
pub async fn try_all<T, E, F>(requests: impl IntoIterator<Item = F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    // Collected, as the compiler can't tell otherwise that this may change threads.
    let requests: Vec<F> = requests.into_iter().collect();
    stream::iter(requests).buffered(AT_ONCE).try_collect().await
}
