//! Yes and no, on the command line and in the environment.

use std::ffi::OsStr;

use clap::{
    Arg, Command, Error,
    builder::{BoolishValueParser, TypedValueParser},
    error::ErrorKind,
};

/// Takes true and false, yes and no, on and off, 1 and 0. Any other word is refused: taken for yes it might open what was to
/// be closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct YesOrNo;

impl TypedValueParser for YesOrNo {
    type Value = bool;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<bool, Error> {
        BoolishValueParser::new().parse_ref(command, arg, value).map_err(|_| {
            let flag = arg.and_then(Arg::get_long).unwrap_or_default();
            let variable = arg.and_then(Arg::get_env).unwrap_or_default();
            // As `Debug` writes it no terminal obeys it.
            let message = format!("{value:?} is neither true nor false, for --{flag} or {}", variable.display());
            Error::raw(ErrorKind::InvalidValue, message + "\n").with_cmd(command)
        })
    }
}
