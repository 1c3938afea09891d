//! `enum fuse_opcode`, as far as something is done about it.

macro_rules! opcodes {
    ($($name:ident = $number:literal => $text:literal,)*) => {
        $(pub(crate) const $name: u32 = $number;)*

        /// Returns the name of an opcode in small letters.
        pub(crate) fn name(opcode: u32) -> &'static str {
            match opcode {
                $($number => $text,)*
                _ => "unknown",
            }
        }
    };
}

opcodes! {
    LOOKUP = 1 => "lookup",
    FORGET = 2 => "forget",
    GETATTR = 3 => "getattr",
    SETATTR = 4 => "setattr",
    READLINK = 5 => "readlink",
    SYMLINK = 6 => "symlink",
    MKNOD = 8 => "mknod",
    MKDIR = 9 => "mkdir",
    UNLINK = 10 => "unlink",
    RMDIR = 11 => "rmdir",
    RENAME = 12 => "rename",
    LINK = 13 => "link",
    OPEN = 14 => "open",
    READ = 15 => "read",
    WRITE = 16 => "write",
    STATFS = 17 => "statfs",
    RELEASE = 18 => "release",
    FSYNC = 20 => "fsync",
    SETXATTR = 21 => "setxattr",
    GETXATTR = 22 => "getxattr",
    LISTXATTR = 23 => "listxattr",
    REMOVEXATTR = 24 => "removexattr",
    FLUSH = 25 => "flush",
    OPENDIR = 27 => "opendir",
    READDIR = 28 => "readdir",
    RELEASEDIR = 29 => "releasedir",
    FSYNCDIR = 30 => "fsyncdir",
    ACCESS = 34 => "access",
    CREATE = 35 => "create",
    INTERRUPT = 36 => "interrupt",
    DESTROY = 38 => "destroy",
    IOCTL = 39 => "ioctl",
    BATCH_FORGET = 42 => "batch_forget",
    FALLOCATE = 43 => "fallocate",
    READDIRPLUS = 44 => "readdirplus",
    RENAME2 = 45 => "rename2",
    LSEEK = 46 => "lseek",
    COPY_FILE_RANGE = 47 => "copy_file_range",
    SYNCFS = 50 => "syncfs",
    TMPFILE = 51 => "tmpfile",
    STATX = 52 => "statx",
    COPY_FILE_RANGE_64 = 53 => "copy_file_range_64",
}
