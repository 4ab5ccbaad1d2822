//! Users, groups and capabilities: looked at while a module makes them virtual.
//!
//! i386 has each twice: by its old name with ids of 16 bits, and with `32` behind it.

use super::{
    Arg::*,
    Row,
    Tier::{self, Base},
};
use crate::handlers::identity;

const IDENTITY: Tier = Tier::Identity;

pub(super) const ROWS: &[Row] = &[
    Row::each(IDENTITY, 102, "getuid", &[], identity::get_id).i386(24),
    Row::each(IDENTITY, 104, "getgid", &[], identity::get_id).i386(47),
    Row::each(IDENTITY, 107, "geteuid", &[], identity::get_id).i386(49),
    Row::each(IDENTITY, 108, "getegid", &[], identity::get_id).i386(50),
    Row::each(IDENTITY, 105, "setuid", &[Id], identity::set_id).i386(23),
    Row::each(IDENTITY, 106, "setgid", &[Id], identity::set_id).i386(46),
    Row::each(IDENTITY, 113, "setreuid", &[Id, Id], identity::set_two_ids).i386(70),
    Row::each(IDENTITY, 114, "setregid", &[Id, Id], identity::set_two_ids).i386(71),
    Row::each(IDENTITY, 117, "setresuid", &[Id, Id, Id], identity::set_three_ids).i386(164),
    Row::each(IDENTITY, 118, "getresuid", &[Pointer, Pointer, Pointer], identity::get_ids).i386(165),
    Row::each(IDENTITY, 119, "setresgid", &[Id, Id, Id], identity::set_three_ids).i386(170),
    Row::each(IDENTITY, 120, "getresgid", &[Pointer, Pointer, Pointer], identity::get_ids).i386(171),
    Row::each(IDENTITY, 115, "getgroups", &[Int, Pointer], identity::getgroups).i386(80),
    Row::each(IDENTITY, 116, "setgroups", &[Int, Pointer], identity::setgroups).i386(81),
    // Without a module, only to know when what the kernel shows of a task's identity is not the one that counts for files.
    Row::each(Base, 122, "setfsuid", &[Id], identity::set_fs_id).i386(138),
    Row::each(Base, 123, "setfsgid", &[Id], identity::set_fs_id).i386(139),
    Row::each(IDENTITY, 125, "capget", &[Pointer, Pointer], identity::capget).i386(184),
    Row::each(IDENTITY, 126, "capset", &[Pointer, Pointer], identity::capset).i386(185),
    Row::each(IDENTITY, 157, "prctl", &[Int, Hex, Hex, Hex, Hex], identity::prctl).i386(172),
    Row::each(IDENTITY, 55, "getsockopt", &[Fd, Int, Int, Pointer, Pointer], identity::getsockopt)
        .i386(365)
        .partial("SO_PEERCRED and SO_PEERGROUPS tell the virtual identity that a process of the view has now"),
];

pub(super) const I386: &[Row] = &[
    Row::each(IDENTITY, 199, "getuid32", &[], identity::get_id).only_i386(),
    Row::each(IDENTITY, 200, "getgid32", &[], identity::get_id).only_i386(),
    Row::each(IDENTITY, 201, "geteuid32", &[], identity::get_id).only_i386(),
    Row::each(IDENTITY, 202, "getegid32", &[], identity::get_id).only_i386(),
    Row::each(IDENTITY, 203, "setreuid32", &[Id, Id], identity::set_two_ids).only_i386(),
    Row::each(IDENTITY, 204, "setregid32", &[Id, Id], identity::set_two_ids).only_i386(),
    Row::each(IDENTITY, 205, "getgroups32", &[Int, Pointer], identity::getgroups).only_i386(),
    Row::each(IDENTITY, 206, "setgroups32", &[Int, Pointer], identity::setgroups).only_i386(),
    Row::each(IDENTITY, 208, "setresuid32", &[Id, Id, Id], identity::set_three_ids).only_i386(),
    Row::each(IDENTITY, 209, "getresuid32", &[Pointer, Pointer, Pointer], identity::get_ids).only_i386(),
    Row::each(IDENTITY, 210, "setresgid32", &[Id, Id, Id], identity::set_three_ids).only_i386(),
    Row::each(IDENTITY, 211, "getresgid32", &[Pointer, Pointer, Pointer], identity::get_ids).only_i386(),
    Row::each(IDENTITY, 213, "setuid32", &[Id], identity::set_id).only_i386(),
    Row::each(IDENTITY, 214, "setgid32", &[Id], identity::set_id).only_i386(),
    Row::each(Base, 215, "setfsuid32", &[Id], identity::set_fs_id).only_i386(),
    Row::each(Base, 216, "setfsgid32", &[Id], identity::set_fs_id).only_i386(),
];
