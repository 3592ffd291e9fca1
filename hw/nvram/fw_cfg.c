/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The firmware configuration device.
 *
 * Items are GBytes: what a loader has mapped from a file is shown to the guest
 * without a copy.  Items that the guest may write are private copies.
 */
#include "hw/nvram/fw_cfg.h"

#include "hw/isa/isa.h"
#include "util/log.h"
#include "util/trace.h"

#include <assert.h>
#include <string.h>

TRACE_EVENT(fw_cfg_select, "key 0x%04x length %zu")
TRACE_EVENT(fw_cfg_dma, "control 0x%08x length %u address 0x%llx")
TRACE_EVENT(fw_cfg_file, "%s: key 0x%04x length %zu")

#define PORT_SELECT 0x510
#define PORT_DMA 0x514
#define NAME_MAX_LEN 55
#define KEY_ARCH 0x8000u
#define KEY_MASK 0x3fffu
#define VERSION_BASIC 1u
#define VERSION_DMA 2u

#define DMA_ERROR 0x01u
#define DMA_READ 0x02u
#define DMA_SKIP 0x04u
#define DMA_SELECT 0x08u
#define DMA_WRITE 0x10u
#define DMA_SIGNATURE 0x51454d5520434647ull /* "QEMU CFG" */

/* Most that is moved in one go, so that no buffer of the guest's choosing is needed. */
#define DMA_CHUNK 4096u

typedef struct Item {
    GBytes *bytes;
    bool writable;
    FwCfgSelectFn *select;
    FwCfgWrittenFn *written;
    FwCfgLendFn *refill, *drop;
    void *opaque;
} Item;

typedef struct File {
    char name[NAME_MAX_LEN + 1];
    Item item;
} File;

struct FwCfg {
    Device dev;
    Region io, dma_io;
    /* properties */
    uint16_t file_slots;
    bool dma_enabled;

    Item items[2][FW_CFG_FILE_FIRST]; /* by key; [1]: keys from 8000h */
    GPtrArray *files;                 /* File*, by name */
    GBytes *directory;                /* made when it is asked for */
    uint16_t key;
    uint32_t offset;
    uint64_t dma_addr;
};
#define FW_CFG(o) OBJECT_CAST(FwCfg, o, TYPE_FW_CFG_IO)

/* ---- items ---- */

static void item_set(Item *it, const void *data, size_t len)
{
    g_clear_pointer(&it->bytes, g_bytes_unref);
    it->bytes = g_bytes_new(data, len);
}

static void item_clear(Item *it)
{
    g_clear_pointer(&it->bytes, g_bytes_unref);
    memset(it, 0, sizeof(*it));
}

static void file_free(void *p)
{
    File *f = p;

    item_clear(&f->item);
    g_free(f);
}

static void make_directory(FwCfg *f)
{
    GByteArray *a = g_byte_array_new();
    uint8_t entry[64];

    g_clear_pointer(&f->directory, g_bytes_unref);
    st_be32(entry, f->files->len);
    g_byte_array_append(a, entry, 4);
    for (unsigned i = 0; i < f->files->len; i++) {
        const File *file = g_ptr_array_index(f->files, i);

        memset(entry, 0, sizeof(entry));
        st_be32(entry, (uint32_t)g_bytes_get_size(file->item.bytes));
        st_be16(entry + 4, (uint16_t)(FW_CFG_FILE_FIRST + i));
        memcpy(entry + 8, file->name, strlen(file->name));
        g_byte_array_append(a, entry, sizeof(entry));
    }
    f->directory = g_byte_array_free_to_bytes(a);
}

/* The item under a key; NULL if there is none. */
static Item *find_item(FwCfg *f, uint16_t key)
{
    unsigned n = key & KEY_MASK;

    if (n < FW_CFG_FILE_FIRST) {
        return &f->items[key & KEY_ARCH ? 1 : 0][n];
    }
    if (!(key & KEY_ARCH) && n - FW_CFG_FILE_FIRST < f->files->len) {
        return &((File *)g_ptr_array_index(f->files, n - FW_CFG_FILE_FIRST))->item;
    }
    return NULL;
}

static GBytes *current(FwCfg *f)
{
    Item *it;

    if (f->key == FW_CFG_FILE_DIR) {
        if (!f->directory) {
            make_directory(f);
        }
        return f->directory;
    }
    it = find_item(f, f->key);
    return it ? it->bytes : NULL;
}

static void select_key(FwCfg *f, uint16_t key)
{
    Item *it;
    GBytes *b;

    f->key = key;
    f->offset = 0;
    it = find_item(f, key);
    if (it && it->select) {
        it->select(it->opaque);
    }
    b = current(f);
    trace(fw_cfg_select, key, b ? g_bytes_get_size(b) : (size_t)0);
}

/* ---- ports ---- */

/* Beyond the end of an item, and where there is none, zeros are read. */
static uint8_t read_byte(FwCfg *f)
{
    GBytes *b = current(f);
    gsize len = 0;
    const uint8_t *p = b ? g_bytes_get_data(b, &len) : NULL;

    return f->offset < len ? p[f->offset++] : 0;
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    return read_byte(opaque);
}

static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    if (size == 2) {
        select_key(opaque, (uint16_t)v);
    } else {
        guest_error("fw_cfg", "write of 0x%02x to port 0x%x: items are written by DMA only",
                    (unsigned)v, PORT_SELECT + (unsigned)off);
    }
}

static const RegionOps io_ops = {
    .read = io_read,
    .write = io_write,
    .valid_min = 1,
    .valid_max = 2,
    .aligned_only = true,
    .impl_min = 1,
    .impl_max = 2,
};

/* ---- DMA ---- */

static MemResult dma_out(FwCfg *f, hwaddr addr, const void *p, size_t len)
{
    return address_space_write(f->dev.machine->as_memory, addr, MEM_ATTRS_NONE, p, len);
}

static bool dma_read_item(FwCfg *f, hwaddr addr, uint32_t len)
{
    static const uint8_t zeros[DMA_CHUNK];
    GBytes *b = current(f);
    gsize size = 0;
    const uint8_t *p = b ? g_bytes_get_data(g_bytes_ref(b), &size) : NULL;
    bool ok = true;

    for (uint32_t done = 0; ok && done < len;) {
        bool inside = f->offset < size;
        uint32_t n = MIN(len - done, DMA_CHUNK);

        n = inside ? (uint32_t)MIN(n, size - f->offset) : n;
        /* This ends also a length that the guest made up. */
        ok = dma_out(f, addr + done, inside ? p + f->offset : zeros, n) == MEM_OK;
        f->offset += ok && inside ? n : 0;
        done += n;
        loop_yield(f->dev.owner.loop);
    }
    if (b) {
        Item *it = find_item(f, f->key);
        if (it && it->drop && f->offset == size) {
            it->drop(it->opaque);
        }
        g_bytes_unref(b);
    }
    return ok;
}

static bool dma_write_item(FwCfg *f, hwaddr addr, uint32_t len)
{
    Item *it = find_item(f, f->key);
    gsize size;
    uint8_t *p;
    uint32_t start = f->offset;

    if (!it || !it->writable) {
        return false;
    }
    p = (uint8_t *)(uintptr_t)g_bytes_get_data(it->bytes, &size); /* our private copy */
    if (start > size || len > size - start) {
        return false;
    }
    if (address_space_read(f->dev.machine->as_memory, addr, MEM_ATTRS_NONE, p + start, len) !=
        MEM_OK) {
        return false;
    }
    f->offset += len;
    if (it->written) {
        it->written(it->opaque, start, len);
    }
    return true;
}

/* Specification, "Guest-side DMA Interface": control, length, address, all big-endian. */
static void dma_run(FwCfg *f)
{
    hwaddr at = f->dma_addr;
    uint8_t raw[16];
    uint32_t control, len;
    uint64_t addr;
    bool ok = true;

    f->dma_addr = 0;
    if (address_space_read(f->dev.machine->as_memory, at, MEM_ATTRS_NONE, raw, sizeof(raw)) !=
        MEM_OK) {
        guest_error("fw_cfg", "DMA descriptor at 0x%llx is not in memory", (unsigned long long)at);
        st_be32(raw, DMA_ERROR);
        dma_out(f, at, raw, 4);
        return;
    }
    control = ld_be32(raw);
    len = ld_be32(raw + 4);
    addr = ld_be64(raw + 8);
    trace(fw_cfg_dma, control, len, (unsigned long long)addr);
    if (control & DMA_SELECT) {
        select_key(f, (uint16_t)(control >> 16));
    }
    if (control & DMA_READ) {
        ok = dma_read_item(f, addr, len);
    } else if (control & DMA_WRITE) {
        ok = dma_write_item(f, addr, len);
    } else if (control & DMA_SKIP) {
        f->offset = f->offset + len < f->offset ? UINT32_MAX : f->offset + len;
    }
    if (!ok) {
        guest_error("fw_cfg", "DMA with control 0x%08x, key 0x%04x failed", control, f->key);
    }
    st_be32(raw, ok ? 0 : DMA_ERROR);
    dma_out(f, at, raw, 4);
}

static uint64_t dma_io_read(void *opaque, hwaddr off, unsigned size)
{
    return DMA_SIGNATURE >> (8 - off - size) * 8;
}

static void dma_io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    FwCfg *f = opaque;

    if (size == 8) {
        f->dma_addr = v;
        dma_run(f);
    } else if (size == 4 && off == 0) {
        f->dma_addr = v << 32;
    } else if (size == 4 && off == 4) {
        f->dma_addr |= v;
        dma_run(f);
    } else {
        guest_error("fw_cfg", "write of %u bytes to port 0x%x", size, PORT_DMA + (unsigned)off);
    }
}

static const RegionOps dma_ops = {
    .read = dma_io_read,
    .write = dma_io_write,
    .valid_min = 1,
    .valid_max = 8,
    .aligned_only = true,
    .impl_min = 1,
    .impl_max = 8,
    .big_endian = true,
};

/* ---- what the machine puts in ---- */

void fw_cfg_add_gbytes(FwCfg *f, uint16_t key, GBytes *bytes)
{
    Item *it = &f->items[key & KEY_ARCH ? 1 : 0][key & KEY_MASK];

    assert((key & KEY_MASK) < FW_CFG_FILE_FIRST);
    g_clear_pointer(&it->bytes, g_bytes_unref);
    it->bytes = g_bytes_ref(bytes);
}

void fw_cfg_set_lender(FwCfg *f, uint16_t key, FwCfgLendFn *refill, FwCfgLendFn *drop, void *opaque)
{
    Item *it = &f->items[0][key];

    assert(key < FW_CFG_FILE_FIRST && it->bytes);
    it->refill = refill;
    it->drop = drop;
    it->opaque = opaque;
}

void fw_cfg_add_bytes(FwCfg *f, uint16_t key, const void *data, size_t len)
{
    g_autoptr(GBytes) b = g_bytes_new(data, len);

    fw_cfg_add_gbytes(f, key, b);
}

void fw_cfg_add_string(FwCfg *f, uint16_t key, const char *s)
{
    fw_cfg_add_bytes(f, key, s, strlen(s) + 1);
}

void fw_cfg_add_u16(FwCfg *f, uint16_t key, uint16_t v)
{
    uint8_t b[2];

    st_le16(b, v);
    fw_cfg_add_bytes(f, key, b, sizeof(b));
}

void fw_cfg_add_u32(FwCfg *f, uint16_t key, uint32_t v)
{
    uint8_t b[4];

    st_le32(b, v);
    fw_cfg_add_bytes(f, key, b, sizeof(b));
}

void fw_cfg_add_u64(FwCfg *f, uint16_t key, uint64_t v)
{
    uint8_t b[8];

    st_le64(b, v);
    fw_cfg_add_bytes(f, key, b, sizeof(b));
}

static File *find_file(FwCfg *f, const char *name)
{
    for (unsigned i = 0; i < f->files->len; i++) {
        File *file = g_ptr_array_index(f->files, i);

        if (!strcmp(file->name, name)) {
            return file;
        }
    }
    return NULL;
}

static File *new_file(FwCfg *f, const char *name, Error **errp)
{
    unsigned at = 0;
    File *file;

    if (!*name || strlen(name) > NAME_MAX_LEN) {
        error_set(errp, "fw_cfg file name '%s' is %s", name,
                  *name ? "longer than 55 characters" : "empty");
        return NULL;
    }
    if (find_file(f, name)) {
        error_set(errp, "fw_cfg file '%s' exists already", name);
        return NULL;
    }
    if (f->files->len >= f->file_slots) {
        error_set(errp, "fw_cfg has no room for file '%s': all %u slots are in use", name,
                  f->file_slots);
        error_hint(errp, "-global fw_cfg_io.x-file-slots=N makes more");
        return NULL;
    }
    /* Kept by name, so that a file's key does not depend on who came first. */
    while (at < f->files->len &&
           strcmp(((File *)g_ptr_array_index(f->files, at))->name, name) < 0) {
        at++;
    }
    file = g_new0(File, 1);
    memcpy(file->name, name, strlen(name));
    g_ptr_array_insert(f->files, (int)at, file);
    g_clear_pointer(&f->directory, g_bytes_unref);
    return file;
}

bool fw_cfg_add_file_gbytes(FwCfg *f, const char *name, GBytes *bytes, Error **errp)
{
    File *file = new_file(f, name, errp);

    if (!file) {
        return false;
    }
    file->item.bytes = g_bytes_ref(bytes);
    trace(fw_cfg_file, name, 0u, g_bytes_get_size(bytes));
    return true;
}

bool fw_cfg_add_file(FwCfg *f, const char *name, const void *data, size_t len, Error **errp)
{
    g_autoptr(GBytes) b = g_bytes_new(data, len);

    return fw_cfg_add_file_gbytes(f, name, b, errp);
}

bool fw_cfg_add_file_callback(FwCfg *f, const char *name, FwCfgSelectFn *select,
                              FwCfgWrittenFn *written, void *opaque, const void *data, size_t len,
                              bool writable, Error **errp)
{
    File *file = new_file(f, name, errp);

    if (!file) {
        return false;
    }
    item_set(&file->item, data, len);
    file->item.select = select;
    file->item.written = written;
    file->item.opaque = opaque;
    file->item.writable = writable;
    return true;
}

bool fw_cfg_modify_file(FwCfg *f, const char *name, const void *data, size_t len, Error **errp)
{
    File *file = find_file(f, name);

    if (!file) {
        return fw_cfg_add_file(f, name, data, len, errp);
    }
    item_set(&file->item, data, len);
    g_clear_pointer(&f->directory, g_bytes_unref);
    return true;
}

const uint8_t *fw_cfg_file_data(FwCfg *f, const char *name, size_t *len)
{
    File *file = find_file(f, name);
    gsize size = 0;
    const uint8_t *p = file ? g_bytes_get_data(file->item.bytes, &size) : NULL;

    *len = size;
    return p;
}

/* ---- the device ---- */

static void fw_cfg_reset(Device *dev)
{
    FwCfg *f = FW_CFG(dev);

    /* As if the firmware had selected the first item. */
    f->key = FW_CFG_SIGNATURE;
    f->offset = 0;
    f->dma_addr = 0;
    for (unsigned i = 0; i < FW_CFG_FILE_FIRST; i++) {
        if (f->items[0][i].refill) {
            f->items[0][i].refill(f->items[0][i].opaque);
        }
    }
}

static bool fw_cfg_realize(Device *dev, Error **errp)
{
    FwCfg *f = FW_CFG(dev);
    Machine *m = dev->machine;

    if (f->file_slots < 16 || f->file_slots > KEY_MASK - FW_CFG_FILE_FIRST) {
        error_set(errp, "fw_cfg_io: x-file-slots=%u is not between 16 and %u", f->file_slots,
                  KEY_MASK - FW_CFG_FILE_FIRST);
        return false;
    }
    region_init_io(&f->io, &dev->owner, &io_ops, f, "fwcfg", 2);
    region_add(&m->io, PORT_SELECT, &f->io);
    if (f->dma_enabled) {
        region_init_io(&f->dma_io, &dev->owner, &dma_ops, f, "fwcfg.dma", 8);
        region_add(&m->io, PORT_DMA, &f->dma_io);
    }
    return true;
}

static void fw_cfg_unrealize(Device *dev)
{
    FwCfg *f = FW_CFG(dev);

    region_fini(&f->dma_io);
    region_fini(&f->io);
}

static void fw_cfg_instance_init(Object *obj)
{
    ((FwCfg *)obj)->files = g_ptr_array_new_with_free_func(file_free);
}

static void fw_cfg_finalize(Object *obj)
{
    FwCfg *f = (FwCfg *)obj;

    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < FW_CFG_FILE_FIRST; k++) {
            item_clear(&f->items[i][k]);
        }
    }
    g_ptr_array_unref(f->files);
    g_clear_pointer(&f->directory, g_bytes_unref);
}

static const StateDesc fw_cfg_state = {
    .name = "fw_cfg",
    .version = 1,
    .fields =
        (const StateField[]){
            STATE_F_UINT(FwCfg, key),
            STATE_F_UINT(FwCfg, offset),
            STATE_F_UINT(FwCfg, dma_addr),
            {0},
        },
};

static const Property fw_cfg_props[] = {
    PROPERTY_BOOL("dma_enabled", FwCfg, dma_enabled, true, "the DMA interface"),
    PROPERTY_U16("x-file-slots", FwCfg, file_slots, 64, "room for so many files"),
    {0},
};

static const DeviceClass fw_cfg_class = {
    .realize = fw_cfg_realize,
    .unrealize = fw_cfg_unrealize,
    .reset = fw_cfg_reset,
    .state = &fw_cfg_state,
    .category = DEVICE_CATEGORY_MISC,
    .not_hotpluggable = true,
};

OBJECT_TYPE(fw_cfg_type, .name = TYPE_FW_CFG_IO, .parent = TYPE_DEVICE,
            .help = "firmware configuration device", .size = sizeof(FwCfg), .klass = &fw_cfg_class,
            .props = fw_cfg_props, .init = fw_cfg_instance_init, .finalize = fw_cfg_finalize)

/* -boot splash=, splash-time=, reboot-timeout=, for SeaBIOS. */
static bool add_boot_files(FwCfg *f, const BootConfig *b, Error **errp)
{
    uint8_t v[4];

    if (b->splash_time >= 0) {
        st_le16(v, (uint16_t)MIN(b->splash_time, 0xffff));
        if (!fw_cfg_add_file(f, "etc/boot-menu-wait", v, 2, errp)) {
            return false;
        }
    }
    if (b->reboot_timeout >= -1 && b->reboot_timeout <= 0xffff) {
        st_le32(v, (uint32_t)(int32_t)b->reboot_timeout);
        if (!fw_cfg_add_file(f, "etc/boot-fail-wait", v, 4, errp)) {
            return false;
        }
    }
    if (b->splash) {
        g_autofree char *data = NULL;
        gsize len = 0;
        GError *gerr = NULL;
        bool bmp;

        if (!g_file_get_contents(b->splash, &data, &len, &gerr)) {
            error_set(errp, "-boot splash=%s: %s", b->splash, gerr->message);
            g_error_free(gerr);
            return false;
        }
        bmp = len > 2 && data[0] == 'B' && data[1] == 'M';
        if (!bmp && !(len > 2 && (uint8_t)data[0] == 0xff && (uint8_t)data[1] == 0xd8)) {
            error_set(errp, "-boot splash=%s: not a JPEG or BMP picture", b->splash);
            return false;
        }
        return fw_cfg_add_file(f, bmp ? "bootsplash.bmp" : "bootsplash.jpg", data, len, errp);
    }
    return true;
}

FwCfg *fw_cfg_new(Machine *m, Error **errp)
{
    FwCfg *f = FW_CFG(device_new(TYPE_FW_CFG_IO));

    if (!device_realize(&f->dev, m, NULL, errp)) {
        return NULL;
    }
    fw_cfg_add_bytes(f, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_add_u32(f, FW_CFG_ID, VERSION_BASIC | (f->dma_enabled ? VERSION_DMA : 0));
    fw_cfg_add_bytes(f, FW_CFG_UUID, m->uuid, sizeof(m->uuid));
    fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, m->ram_size);
    fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, !m->graphics);
    fw_cfg_add_u16(f, FW_CFG_NB_CPUS, (uint16_t)m->smp.cpus);
    fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, (uint16_t)m->smp.max_cpus);
    fw_cfg_add_u16(f, FW_CFG_BOOT_MENU, m->boot.menu);
    if (!add_boot_files(f, &m->boot, errp)) {
        device_unrealize(&f->dev);
        return NULL;
    }
    m->fw_cfg = f;
    return f;
}

static int by_bootindex(const void *a, const void *b)
{
    const Device *x = *(Device *const *)a, *y = *(Device *const *)b;

    return x->bootindex < y->bootindex ? -1 : x->bootindex > y->bootindex;
}

void fw_cfg_machine_done(FwCfg *f, Machine *m)
{
    g_autoptr(GPtrArray) order = g_ptr_array_new();
    g_autoptr(GString) text = g_string_new(NULL);
    Error *err = NULL;

    for (unsigned i = 0; m->boot_devices && i < m->boot_devices->len; i++) {
        Device *d = g_ptr_array_index(m->boot_devices, i);

        if (d->bootindex >= 0) {
            g_ptr_array_add(order, d);
        }
    }
    g_ptr_array_sort(order, by_bootindex);
    for (unsigned i = 0; i < order->len; i++) {
        g_autofree char *path = device_fw_path(g_ptr_array_index(order, i));

        if (path) {
            g_string_append_printf(text, "%s%s", text->len ? "\n" : "", path);
        }
    }
    if (m->boot.strict && text->len) {
        g_string_append(text, "\nHALT");
    }
    if (!fw_cfg_modify_file(f, "bootorder", text->str, text->len ? text->len + 1 : 0, &err)) {
        error_report(err);
    }
}
