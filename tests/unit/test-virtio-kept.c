/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio disk's requests that an error has stopped (werror=stop) are part of its state: the
 * machine that loads it does them when it continues, once.
 */
#include "hw/pci/internal.h"
#include "hw/virtio/virtio-pci.h"
#include "state/state.h"
#include "tests/unit/machine-fixture.h"

#include <string.h>

#define DESC 0x100000u
#define AVAIL 0x101000u
#define USED 0x102000u
#define HEADER 0x103000u
#define DATA 0x104000u
#define STATUS 0x105000u
#define REQUESTS 3u

static AddressSpace *as;

static void put(uint64_t at, unsigned size, uint64_t v)
{
    g_assert_cmpint(address_space_st(as, at, MEM_ATTRS_NONE, size, v), ==, MEM_OK);
}

static uint64_t get(uint64_t at, unsigned size)
{
    uint8_t b[8] = {0};
    g_assert_cmpint(address_space_read(as, at, MEM_ATTRS_NONE, b, size), ==, MEM_OK);
    return ld_le64(b);
}

static void put_descriptor(unsigned i, uint64_t at, uint32_t len, unsigned flags)
{
    put(DESC + 16 * i, 8, at);
    put(DESC + 16 * i + 8, 4, len);
    put(DESC + 16 * i + 12, 2, flags);
    put(DESC + 16 * i + 14, 2, i + 1);
}

/* Writes of one sector each. */
static void fill_ring(void)
{
    for (unsigned r = 0; r < REQUESTS; r++) {
        put(HEADER + 16 * r, 4, 1);
        put(HEADER + 16 * r + 8, 8, 8 + r);
        put_descriptor(3 * r, HEADER + 16 * r, 16, 1);
        put_descriptor(3 * r + 1, DATA + 512 * r, 512, 1);
        put_descriptor(3 * r + 2, STATUS + r, 1, 2);
        put(STATUS + r, 1, 0xee);
        put(AVAIL + 4 + 2 * r, 2, 3 * r);
    }
    put(AVAIL + 2, 2, REQUESTS);
}

static void driver_ok(VirtioDevice *v)
{
    VirtQueue *q = &v->queues[0];
    as = v->as;
    virtio_set_features(v, BIT(VIRTIO_F_VERSION_1));
    q->desc = DESC;
    q->avail = AVAIL;
    q->used = USED;
    q->enabled = true;
    virtio_set_status(v, 15);
}

static void open_disk(Fixture *f)
{
    Error *err = NULL;
    g_autoptr(Json) node = json_parse(
        "{'node-name': 'bad', 'driver': 'blkdebug', 'inject-error': [{'event': 'write_aio', "
        "'state': 1}], 'set-state': [{'event': 'flush_to_disk', 'new_state': 2}], 'file': "
        "{'driver': 'null-co', 'size': 1048576}}",
        NULL);
    if (!node || !block_open(f->block, node, &err)) {
        g_error("%s", error_message(err));
    }
}

static Device *add_device(Fixture *f)
{
    Error *err = NULL;
    g_autoptr(Json) o = json_parse("{'driver': 'virtio-blk-pci', 'drive': 'bad', 'werror': "
                                   "'stop', 'num-queues': 1, 'id': 'disk'}",
                                   NULL);
    Device *dev = device_add(f->m, o, NULL, &err);
    if (!dev) {
        g_error("%s", error_message(err));
    }
    /* Memory and bus master. */
    pci_device_config_write(&((VirtioPci *)dev)->pci, 4, 6, 2);
    return dev;
}

static void test_kept(gconstpointer again)
{
    Error *err = NULL;
    Fixture *f = fixture_new("q35", 64 * MiB, &err);
    if (!f) {
        g_test_skip(error_message(err));
        error_free(err);
        return;
    }
    open_disk(f);
    Device *dev = add_device(f);
    VirtioDevice *v = &((VirtioPci *)dev)->vdev;
    loop_lock(f->platform);
    loop_allow_long(f->platform);
    driver_ok(v);
    fill_ring();
    virtio_queue_notify(v, 0);
    fixture_settle(f);
    g_assert_cmpuint(get(USED + 2, 2), ==, 0); /* all of them wait */
    const StateDesc *desc = device_class(dev)->state;
    GByteArray *state = state_save(desc, dev);
    if (again) { /* a machine that did not save goes on with what it has */
        g_byte_array_unref(state);
        state = state_save(desc, dev);
    } else {
        device_class(dev)->reset(dev);
        g_assert_true(state_load(desc, dev, type_instance_size(dev->obj.type), state->data,
                                 state->len, &err));
        GByteArray *twice = state_save(desc, dev);
        g_assert_cmpmem(twice->data, twice->len, state->data, state->len);
        g_byte_array_unref(twice);
    }
    g_byte_array_unref(state);
    fixture_settle(f);
    g_assert_cmpuint(get(USED + 2, 2), ==, 0);
    /* It fails again, and is kept again; then the disk works. */
    block_retry_all(f->block);
    fixture_settle(f);
    g_assert_cmpuint(get(USED + 2, 2), ==, 0);
    BlockBackend *blk = blk_find(f->block, "bad", &err);
    g_assert_nonnull(blk);
    g_assert_cmpint(blk_flush(blk), ==, 0);
    block_retry_all(f->block);
    fixture_settle(f);
    g_assert_cmpuint(get(USED + 2, 2), ==, REQUESTS);
    g_assert_cmpuint(v->queues[0].in_flight, ==, 0);
    for (unsigned r = 0; r < REQUESTS; r++) {
        g_assert_cmpuint(get(STATUS + r, 1), ==, 0);
    }
    block_retry_all(f->block);
    fixture_settle(f);
    g_assert_cmpuint(get(USED + 2, 2), ==, REQUESTS); /* once */
    loop_unlock(f->platform);
    fixture_free(f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/virtio-blk/kept/loaded", NULL, test_kept);
    g_test_add_data_func("/virtio-blk/kept/saved-only", "", test_kept);
    return g_test_run();
}
