//! What metrics are told apart by.

/// Where something may be known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheLayer {
    /// Images in this process.
    Memory,
    /// Images in this machine's directory.
    Directory,
    /// Records of a kind in the storage.
    Record(&'static str),
}

impl CacheLayer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Directory => "directory",
            Self::Record(kind) => kind,
        }
    }
}

/// Which limit keeps an image from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Builds at the same time.
    Busy,
    /// Free space.
    Disk,
    /// What an image may have.
    Size,
}

impl Refusal {
    pub(super) const ALL: [Self; 3] = [Self::Busy, Self::Disk, Self::Size];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Disk => "disk",
            Self::Size => "size",
        }
    }
}

/// How many connections there are too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Of all clients.
    Total,
    /// Of one address.
    Address,
}

impl Full {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
        }
    }
}

/// What a client takes too long for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// Sending the head of a request.
    Head,
    /// Sending anything after an answer.
    Idle,
    /// Taking an answer, or giving a sign that it is there.
    Write,
}

impl Slow {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Idle => "idle",
            Self::Write => "write",
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The length of its URL.
    Url,
    /// The size of its headers.
    Headers,
    /// The size of its body.
    Body,
    /// Too many of one client.
    Rate,
    /// Too many that watch builds.
    Watchers,
    /// Too many blobs that are sent.
    Downloads,
}

impl Refused {
    pub(super) const ALL: [Self; 6] =
        [Self::Url, Self::Headers, Self::Body, Self::Rate, Self::Watchers, Self::Downloads];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Headers => "headers",
            Self::Body => "body",
            Self::Rate => "rate",
            Self::Watchers => "watchers",
            Self::Downloads => "downloads",
        }
    }
}
