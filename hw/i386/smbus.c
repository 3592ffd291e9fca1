/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hw/i386/smbus.h"

enum {
    HST_STS = 0,
    HST_CNT = 2,
    HST_CMD = 3,
    HST_ADD = 4,
    HST_D0 = 5,
    HST_D1 = 6,
    HST_BLOCK = 7,
    AUX_CTL = 13,
};

#define STS_INTR 0x02
#define STS_DEV_ERR 0x04
#define STS_FAILED 0x10
#define STS_INUSE 0x40
#define STS_CLEARABLE 0xfe
#define CNT_INTREN 0x01
#define CNT_KILL 0x02
#define CNT_START 0x40

static void update_irq(SmBus *s)
{
    irq_set(s->irq,
            (s->control & CNT_INTREN) && (s->status & (STS_INTR | STS_DEV_ERR | STS_FAILED)));
}

static uint64_t io_read(void *opaque, hwaddr off, unsigned size)
{
    SmBus *s = opaque;
    uint8_t v;

    switch (off) {
    case HST_STS:
        v = s->status;
        s->status |= STS_INUSE; /* a semaphore: whoever reads 0 owns the controller */
        return v;
    case HST_CNT:
        s->block_index = 0;
        return s->control & (uint8_t)~CNT_START;
    case HST_CMD:
        return s->command;
    case HST_ADD:
        return s->address;
    case HST_D0:
        return s->data0;
    case HST_D1:
        return s->data1;
    case HST_BLOCK:
        v = s->block[s->block_index];
        s->block_index = (s->block_index + 1) % sizeof(s->block);
        return v;
    case AUX_CTL:
        return s->aux_control;
    default:
        return 0;
    }
}

static void control_write(SmBus *s, uint8_t v)
{
    s->control = v & (uint8_t)~CNT_START;
    s->block_index = 0;
    if (v & CNT_KILL) {
        s->status |= STS_FAILED;
    } else if (v & CNT_START) {
        s->status |= STS_DEV_ERR; /* no acknowledge */
    }
    update_irq(s);
}

static void io_write(void *opaque, hwaddr off, uint64_t v, unsigned size)
{
    SmBus *s = opaque;

    switch (off) {
    case HST_STS:
        s->status &= (uint8_t) ~(v & STS_CLEARABLE);
        update_irq(s);
        break;
    case HST_CNT:
        control_write(s, (uint8_t)v);
        break;
    case HST_CMD:
        s->command = (uint8_t)v;
        break;
    case HST_ADD:
        s->address = (uint8_t)v;
        break;
    case HST_D0:
        s->data0 = (uint8_t)v;
        break;
    case HST_D1:
        s->data1 = (uint8_t)v;
        break;
    case HST_BLOCK:
        s->block[s->block_index] = (uint8_t)v;
        s->block_index = (s->block_index + 1) % sizeof(s->block);
        break;
    case AUX_CTL:
        s->aux_control = (uint8_t)v & 3;
        break;
    default:
        break;
    }
}

static const RegionOps io_ops = {
    .read = io_read,
    .write = io_write,
    .valid_min = 1,
    .valid_max = 4,
    .impl_min = 1,
    .impl_max = 1,
};

void smbus_init(SmBus *s, Device *owner, unsigned size)
{
    region_init_io(&s->io, &owner->owner, &io_ops, s, "pm-smbus", size);
}

void smbus_fini(SmBus *s)
{
    irq_set(s->irq, 0);
    region_fini(&s->io);
}

void smbus_reset(SmBus *s)
{
    s->status = s->control = s->command = s->address = s->data0 = s->data1 = 0;
    s->aux_control = 0;
    s->block_index = 0;
    memset(s->block, 0, sizeof(s->block));
    update_irq(s);
}

static void state_loaded(void *obj)
{
    update_irq(obj);
}

static const StateField fields[] = {
    STATE_F_UINT(SmBus, status),
    STATE_F_UINT(SmBus, control),
    STATE_F_UINT(SmBus, command),
    STATE_F_UINT(SmBus, address),
    STATE_F_UINT(SmBus, data0),
    STATE_F_UINT(SmBus, data1),
    STATE_F_UINT_ARRAY(SmBus, block),
    STATE_F_UINT(SmBus, aux_control),
    STATE_F_UINT_MAX(SmBus, block_index, 31),
    {0},
};
const StateDesc smbus_state = {
    .name = "smbus", .version = 1, .fields = fields, .loaded = state_loaded};
