//! What of a list is to be shown.

use clap::Args;

use crate::filter::{Filter, FilterError};

#[derive(Debug, Args)]
pub(in crate::cli) struct FilterArguments {
    /// What to list, in containerd's filter language [default: all]
    ///
    /// Of several filters one has to match. A filter is `FIELD==VALUE`, `FIELD!=VALUE`,
    /// `FIELD~=EXPRESSION`, or FIELD alone for "is there"; several of these, joined by
    /// commas, have to match together. Labels are `labels."KEY"`.
    #[arg(value_name = "FILTER")]
    pub(in crate::cli) filters: Vec<String>,
}

impl FilterArguments {
    pub(in crate::cli) fn filter(&self) -> Result<Filter, FilterError> {
        Filter::parse(&self.filters)
    }
}
