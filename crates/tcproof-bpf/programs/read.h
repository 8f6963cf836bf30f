/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Reads of the kernel's memory at addresses that are numbers: what the walks have in common. */
#pragma once

#include "kernel.h"

/* Since 6.2; the loader makes the tests of its address below constant. */
extern void *bpf_rdonly_cast(const void *from, u32 type) KFUNC;

#define CAST(type, from) ((struct type *)bpf_rdonly_cast((const void *)(from), TYPE_ID(type)))
/*
 * The verifier lets nobody compute with a pointer that it has loaded, such as look at the last bit of an end marker. A
 * number is a number whatever was stored as one: so words are read through a type of the kernel that begins with one.
 */
#define FAST_WORD(from) ((u64)CAST(timespec64, from)->tv_sec)

static ALWAYS_INLINE u64 slow_word(u64 from)
{
	u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (const void *)from);
	return word;
}

static ALWAYS_INLINE u64 word(u64 from, const int fast)
{
	return fast ? FAST_WORD(from) : slow_word(from);
}
