/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Own, fill, publish, release: what is in memory goes to disk in that order. */
#include "block/qcow2/qcow2.h"

#include <errno.h>

/* What one sync has to write, frozen at its start. */
typedef struct Frozen {
    Qcow2TableCopy *rt, *l1;
    GArray *l2;
    GArray *release;
} Frozen;

static GArray *new_release_list(void)
{
    return g_array_new(FALSE, FALSE, sizeof(Qcow2Release));
}

/* The tables count as changed again. Under `lock`. */
static void restore(Qcow2 *s, const Frozen *f)
{
    if (f->rt) {
        qcow2_table_restore_dirty(&s->rt, f->rt);
    }
    if (f->l1) {
        qcow2_table_restore_dirty(&s->l1, f->l1);
    }
}

/* Writes the refcounts and freezes the rest; after a failure nothing is frozen. Under `lock`. */
static int freeze(Qcow2 *s, Frozen *f)
{
    int ret = qcow2_cache_write_dirty(s->rb_cache);
    if (ret < 0) {
        return ret;
    }
    ret = qcow2_table_take_dirty(&s->rt, &f->rt);
    ret = ret < 0 ? ret : qcow2_table_take_dirty(&s->l1, &f->l1);
    ret = ret < 0 ? ret : qcow2_cache_copy_dirty(s->l2_cache, &f->l2);
    if (ret < 0) {
        restore(s, f);
        return ret;
    }
    f->release = s->release;
    s->release = new_release_list();
    return 0;
}

static int write_out(Qcow2 *s, const Frozen *f)
{
    BlockNode *file = s->n->file;
    int ret = 0;
    if (f->rt) {
        ret = node_flush(file); /* blocks before the table that points to them */
        node_event(file, BLKEV_REFTABLE_UPDATE);
        ret = ret < 0 ? ret : qcow2_table_write_copy(s, f->rt);
    }
    if (ret == 0 && (f->l2->len || f->l1)) {
        ret = node_flush(file); /* counts and data before pointers to them */
        if (ret == 0 && qcow2_has_data_file(s)) {
            ret = node_flush(qcow2_data(s));
        }
        ret = ret < 0 ? ret : qcow2_cache_write_copies(s->l2_cache, f->l2);
    }
    if (ret == 0 && f->l1) {
        ret = node_flush(file); /* L2 tables before the L1 table */
        node_event(file, BLKEV_L1_UPDATE);
        ret = ret < 0 ? ret : qcow2_table_write_copy(s, f->l1);
    }
    ret = ret < 0 ? ret : node_flush(file);
    return ret < 0 || !qcow2_has_data_file(s) ? ret : node_flush(qcow2_data(s));
}

/* Under `lock`: after success the rest, after failure everything is as before. */
static int settle(Qcow2 *s, Frozen *f, int ret)
{
    if (ret < 0) {
        restore(s, f);
        g_array_prepend_vals(s->release, f->release->data, f->release->len);
        return ret;
    }
    qcow2_cache_copies_done(s->l2_cache, f->l2);
    return qcow2_release_apply(s, f->release);
}

int qcow2_sync(Qcow2 *s)
{
    Frozen f = {0};
    fiber_mutex_lock(&s->sync_lock);
    fiber_mutex_lock(&s->lock);
    int ret = s->corrupt ? -EIO : freeze(s, &f);
    fiber_mutex_unlock(&s->lock);
    if (ret == 0) {
        ret = write_out(s, &f);
        fiber_mutex_lock(&s->lock);
        ret = settle(s, &f, ret);
        fiber_mutex_unlock(&s->lock);
    }
    fiber_mutex_unlock(&s->sync_lock);
    qcow2_table_copy_free(f.rt);
    qcow2_table_copy_free(f.l1);
    qcow2_cache_copies_free(f.l2);
    if (f.release) {
        g_array_free(f.release, TRUE);
    }
    return ret;
}
