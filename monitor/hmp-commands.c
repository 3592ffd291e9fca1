/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's commands. */
#include "accel/accel.h"
#include "block/block.h"
#include "block/node.h"
#include "block/ops.h"
#include "monitor/internal.h"
#include "net/net.h"
#include "qapi/qapi-commands.h"
#include "ui/console.h"
#include "util/log.h"
#include "util/option.h"
#include "util/trace.h"

#include <string.h>

/* ---- help ---- */
static void help_line(Hmp *h, const HmpCommand *c, const char *prefix)
{
    hmp_printf(h, "%s%s%s%s -- %s\n", prefix, c->names, *c->args ? " " : "", c->args, c->help);
}

static bool do_help(Hmp *h, Error **errp)
{
    const char *name = hmp_arg(h, 0);
    if (name && !strcmp(name, "info") && hmp_arg(h, 1)) {
        const HmpCommand *c = hmp_find(hmp_info_commands, hmp_arg(h, 1));
        if (!c) {
            error_set(errp, "There is no 'info %s'", hmp_arg(h, 1));
            return false;
        }
        help_line(h, c, "info ");
        return true;
    }
    if (name && strcmp(name, "info")) {
        const HmpCommand *c = hmp_find(hmp_commands, name);
        if (!c) {
            error_set(errp, "There is no command '%s'", name);
            return false;
        }
        help_line(h, c, "");
        return true;
    }
    for (const HmpCommand *c = name ? hmp_info_commands : hmp_commands; c->names; c++) {
        help_line(h, c, name ? "info " : "");
    }
    return true;
}

/* ---- run state ---- */
static bool do_stop(Hmp *h, Error **errp)
{
    return qmp_stop(h->root, errp);
}

static bool do_cont(Hmp *h, Error **errp)
{
    return qmp_cont(h->root, errp);
}

static bool do_quit(Hmp *h, Error **errp)
{
    return qmp_quit(h->root, errp);
}

static bool do_reset(Hmp *h, Error **errp)
{
    return qmp_system_reset(h->root, errp);
}

static bool do_powerdown(Hmp *h, Error **errp)
{
    return qmp_system_powerdown(h->root, errp);
}

static bool do_wakeup(Hmp *h, Error **errp)
{
    return qmp_system_wakeup(h->root, errp);
}

static bool do_gdbserver(Hmp *h, Error **errp)
{
    const char *device = hmp_arg(h, 0) ? hmp_arg(h, 0) : "tcp::1234";
    const MachineHooks *k = h->machine ? h->machine->hooks : NULL;
    if (!k || !k->gdbserver) {
        error_set(errp, "This machine has no gdb server");
        return false;
    }
    if (!k->gdbserver(h->machine, device, errp)) {
        return false;
    }
    if (!strcmp(device, "none")) {
        hmp_printf(h, "Disabled gdbserver\n");
    } else {
        hmp_printf(h, "Waiting for gdb connection on device '%s'\n", device);
    }
    return true;
}

static bool do_nmi(Hmp *h, Error **errp)
{
    return qmp_inject_nmi(h->root, errp);
}

static bool do_cpu(Hmp *h, Error **errp)
{
    uint64_t n;
    if (!hmp_arg(h, 0) || !parse_uint(hmp_arg(h, 0), &n) || !h->machine ||
        n >= h->machine->cpus->len) {
        error_set(errp, "invalid CPU index");
        return false;
    }
    *h->cpu = (int64_t)n;
    return true;
}

/* ---- things plugged in and out ---- */
/* The option syntax of the command line. */
static Json *parse(Hmp *h, const char *implied, Error **errp)
{
    g_autoptr(OptionText) t = option_parse("", h->rest, implied, errp);
    return t ? json_ref(option_values(t)) : NULL;
}

static bool with_json(Hmp *h, const char *implied,
                      bool (*fn)(Object *root, const Json *args, Error **errp), Error **errp)
{
    g_autoptr(Json) o = parse(h, implied, errp);
    return o && fn(h->root, o, errp);
}

static bool do_device_add(Hmp *h, Error **errp)
{
    if (!strcmp(h->rest, "help") || !strcmp(h->rest, "?")) {
        return device_print_help(NULL, h->out, errp);
    }
    if (g_str_has_suffix(h->rest, ",help")) {
        g_autofree char *driver = g_strndup(h->rest, strlen(h->rest) - strlen(",help"));
        return device_print_help(driver, h->out, errp);
    }
    return with_json(h, "driver", qmp_device_add, errp);
}

static bool need_arg(Hmp *h, const char *what, Error **errp)
{
    if (!hmp_arg(h, 0)) {
        error_set(errp, "%s is missing", what);
        return false;
    }
    return true;
}

static bool do_device_del(Hmp *h, Error **errp)
{
    return need_arg(h, "The device's id", errp) && qmp_device_del(h->root, hmp_arg(h, 0), errp);
}

static bool do_netdev_add(Hmp *h, Error **errp)
{
    return with_json(h, "type", qmp_netdev_add, errp);
}

static bool do_netdev_del(Hmp *h, Error **errp)
{
    return need_arg(h, "The backend's id", errp) && qmp_netdev_del(h->root, hmp_arg(h, 0), errp);
}

static bool do_object_add(Hmp *h, Error **errp)
{
    return with_json(h, "qom-type", qmp_object_add, errp);
}

static bool do_object_del(Hmp *h, Error **errp)
{
    return need_arg(h, "The object's id", errp) && qmp_object_del(h->root, hmp_arg(h, 0), errp);
}

static bool do_chardev_add(Hmp *h, Error **errp)
{
    g_autoptr(Json) o = parse(h, "backend", errp);
    return o && chardev_new(h->root, NULL, o, loop_current(), errp);
}

static bool do_chardev_remove(Hmp *h, Error **errp)
{
    return need_arg(h, "The id", errp) && qmp_chardev_remove(h->root, hmp_arg(h, 0), errp);
}

static bool do_eject(Hmp *h, Error **errp)
{
    bool force = hmp_arg(h, 0) && !strcmp(hmp_arg(h, 0), "-f");
    const char *name = hmp_arg(h, force);
    if (!name) {
        error_set(errp, "The drive is missing");
        return false;
    }
    return qmp_eject(h->root, name, NULL, true, force, errp);
}

static bool do_change(Hmp *h, Error **errp)
{
    if (!hmp_arg(h, 1)) {
        error_set(errp, "A drive and a file are needed");
        return false;
    }
    return qmp_blockdev_change_medium(h->root, hmp_arg(h, 0), NULL, hmp_arg(h, 1), hmp_arg(h, 2),
                                      false, false, false, 0, errp);
}

static bool do_commit(Hmp *h, Error **errp)
{
    BlockGraph *g = block_graph_of(h->root);

    if (!need_arg(h, "The drive, or 'all'", errp)) {
        return false;
    }
    if (!strcmp(hmp_arg(h, 0), "all")) {
        return block_commit_all(g, errp);
    }
    BlockNode *n = block_lookup(g, hmp_arg(h, 0), errp);
    return n && block_commit_now(n, errp);
}

static bool do_block_resize(Hmp *h, Error **errp)
{
    uint64_t size;
    if (!hmp_arg(h, 1) || !parse_size(hmp_arg(h, 1), 'M', &size)) {
        error_set(errp, "A drive and a size are needed");
        return false;
    }
    return qmp_block_resize(h->root, hmp_arg(h, 0), NULL, (int64_t)size, errp);
}

/* ---- picture and input ---- */
static bool do_screendump(Hmp *h, Error **errp)
{
    const char *file = hmp_arg(h, 0);
    if (!need_arg(h, "The file", errp)) {
        return false;
    }
    bool png = g_str_has_suffix(file, ".png");
    for (unsigned i = 1; hmp_arg(h, i); i++) {
        png |= !strcmp(hmp_arg(h, i), "png");
    }
    return qmp_screendump(h->root, file, NULL, false, 0, true,
                          png ? Q_IMAGE_FORMAT_PNG : Q_IMAGE_FORMAT_PPM, errp);
}

static bool do_set_password(Hmp *h, Error **errp)
{
    if (!hmp_arg(h, 1) || strcmp(hmp_arg(h, 0), "vnc")) {
        error_set(errp, "Which password? set_password vnc PASSWORD");
        return false;
    }
    return qmp_change_vnc_password(h->root, hmp_arg(h, 1), errp);
}

static bool do_sendkey(Hmp *h, Error **errp)
{
    int codes[16];
    unsigned n = 0;
    uint64_t hold = 0, number;
    if (!need_arg(h, "The keys", errp)) {
        return false;
    }
    if (hmp_arg(h, 1) && (!parse_uint(hmp_arg(h, 1), &hold) || hold > 60000)) {
        error_set(errp, "The time is from 0 to 60000 ms");
        return false;
    }
    g_auto(GStrv) names = g_strsplit(hmp_arg(h, 0), "-", 0);
    for (char **k = names; *k; k++) {
        const char *name = !strcmp(*k, "<") ? "less" : *k;
        int code = g_str_has_prefix(name, "0x") && parse_uint(name, &number) && number < 0x10000
                       ? keycode_from_xt((int)number)
                       : keycode_from_name(name);
        if (code <= 0 || n == G_N_ELEMENTS(codes)) {
            error_set(errp, code <= 0 ? "unknown key: '%s'" : "too many keys at '%s'", name);
            return false;
        }
        codes[n++] = code;
    }
    input_send_keys(h->machine->ui, codes, n, (unsigned)hold);
    return true;
}

static bool do_mouse_move(Hmp *h, Error **errp)
{
    int64_t x, y, z = 0;
    if (!hmp_arg(h, 1) || !parse_int(hmp_arg(h, 0), &x) || !parse_int(hmp_arg(h, 1), &y) ||
        (hmp_arg(h, 2) && !parse_int(hmp_arg(h, 2), &z)) || MAX(ABS(x), ABS(y)) > INPUT_ABS_MAX) {
        error_set(errp, "Two or three distances are needed");
        return false;
    }
    InputEvent ev[4] = {{INPUT_REL, false, 0, (int)x}, {INPUT_REL, false, 1, (int)y}};
    int wheel = z < 0 ? INPUT_BUTTON_WHEEL_UP : INPUT_BUTTON_WHEEL_DOWN;
    ev[2] = (InputEvent){INPUT_BUTTON, true, wheel, 0};
    ev[3] = (InputEvent){INPUT_BUTTON, false, wheel, 0};
    input_send(h->machine->ui, ev, z ? 4 : 2);
    return true;
}

static bool do_mouse_button(Hmp *h, Error **errp)
{
    uint64_t state;
    if (!hmp_arg(h, 0) || !parse_uint(hmp_arg(h, 0), &state) || state > 7) {
        error_set(errp, "The buttons are a sum of 1 (left), 2 (right), 4 (middle)");
        return false;
    }
    InputEvent ev[3] = {{INPUT_BUTTON, state & 1, INPUT_BUTTON_LEFT, 0},
                        {INPUT_BUTTON, state & 2, INPUT_BUTTON_RIGHT, 0},
                        {INPUT_BUTTON, state & 4, INPUT_BUTTON_MIDDLE, 0}};
    input_send(h->machine->ui, ev, 3);
    return true;
}

/* ---- developers ---- */
static bool do_log(Hmp *h, Error **errp)
{
    return need_arg(h, "The items", errp) && log_set_items(hmp_arg(h, 0), errp);
}

static bool do_logfile(Hmp *h, Error **errp)
{
    return need_arg(h, "The file", errp) && log_set_file(hmp_arg(h, 0), errp);
}

static bool do_trace_event(Hmp *h, Error **errp)
{
    bool on;
    if (!hmp_arg(h, 1) || !parse_bool(hmp_arg(h, 1), &on)) {
        error_set(errp, "A name (or pattern) and on or off are needed");
        return false;
    }
    return qmp_trace_event_set_state(h->root, hmp_arg(h, 0), on, false, false, errp);
}

static bool save(Hmp *h, bool physical, Error **errp)
{
    uint64_t addr, size;
    if (!hmp_arg(h, 2) || !hmp_expression(hmp_cpu(h, NULL), hmp_arg(h, 0), NULL, &addr, errp) ||
        !parse_size(hmp_arg(h, 1), 'B', &size)) {
        error_set(errp && *errp ? NULL : errp, "An address, a size and a file are needed");
        return false;
    }
    return physical ? qmp_pmemsave(h->root, addr, size, hmp_arg(h, 2), errp)
                    : qmp_memsave(h->root, addr, size, hmp_arg(h, 2), true,
                                  *h->cpu < 0 ? 0 : *h->cpu, errp);
}

static bool do_memsave(Hmp *h, Error **errp)
{
    return save(h, false, errp);
}

static bool do_pmemsave(Hmp *h, Error **errp)
{
    return save(h, true, errp);
}

static bool print_json(Hmp *h, Json *j)
{
    g_autoptr(Json) owned = j;
    g_autofree char *text = json_print(owned, true);
    hmp_printf(h, "%s\n", text);
    return true;
}

static bool do_qom_list(Hmp *h, Error **errp)
{
    const char *path = hmp_arg(h, 0);
    Json *out;
    if (!qmp_qom_list(h->root, path ? path : "/", &out, errp)) {
        return false;
    }
    for (size_t i = 0; i < json_length(out); i++) {
        hmp_printf(h, "%s (%s)\n", json_get_str(json_at(out, i), "name"),
                   json_get_str(json_at(out, i), "type"));
    }
    json_unref(out);
    return true;
}

static bool do_qom_get(Hmp *h, Error **errp)
{
    Json *out;
    if (!hmp_arg(h, 1)) {
        error_set(errp, "A path and a property are needed");
        return false;
    }
    return qmp_qom_get(h->root, hmp_arg(h, 0), hmp_arg(h, 1), &out, errp) && print_json(h, out);
}

static bool do_qom_set(Hmp *h, Error **errp)
{
    if (!hmp_arg(h, 2)) {
        error_set(errp, "A path, a property and a value are needed");
        return false;
    }
    g_autoptr(Json) v = json_string(hmp_arg(h, 2));
    return qmp_qom_set(h->root, hmp_arg(h, 0), hmp_arg(h, 1), v, errp);
}

static bool do_watchdog(Hmp *h, Error **errp)
{
    int a = hmp_arg(h, 0) ? qapi_enum_find(QWatchdogAction_names, hmp_arg(h, 0)) : -1;
    if (a < 0) {
        error_set(errp, "Unknown watchdog action");
        return false;
    }
    return qmp_watchdog_set_action(h->root, (QWatchdogAction)a, errp);
}

static bool do_info(Hmp *h, Error **errp)
{
    return do_help(&(Hmp){h->root, h->machine, h->out, h->cpu, "info", h->args}, errp);
}

/* ---- completion ---- */
static char **device_names(Object *root, const char *word)
{
    g_autofree const TypeInfo **types = type_list("device", false);
    GPtrArray *out = g_ptr_array_new();
    for (unsigned i = 0; types[i]; i++) {
        const DeviceClass *k = type_class(types[i]);
        if (k && k->user_creatable && g_str_has_prefix(types[i]->name, word)) {
            g_ptr_array_add(out, g_strdup(types[i]->name));
        }
    }
    g_ptr_array_add(out, NULL);
    return (char **)g_ptr_array_free(out, FALSE);
}

const HmpCommand hmp_commands[] = {
    {"help|?", "[command]", "show the commands", do_help, NULL},
    {"info", "[subcommand]", "show what there is", do_info, NULL},
    {"quit|q", "", "end the program", do_quit, NULL},
    {"stop|s", "", "pause the guest", do_stop, NULL},
    {"cont|c", "", "resume the guest", do_cont, NULL},
    {"system_reset", "", "press the reset button", do_reset, NULL},
    {"system_powerdown", "", "press the power button", do_powerdown, NULL},
    {"system_wakeup", "", "wake a suspended guest", do_wakeup, NULL},
    {"gdbserver", "[device|none]", "wait for gdb there (tcp::1234)", do_gdbserver, NULL},
    {"nmi", "", "raise an NMI on every CPU", do_nmi, NULL},
    {"mce", "[-b] cpu bank status mcgstatus addr misc",
     "inject a machine-check error (-b: tell the other CPUs, too)", hmp_mce, NULL},
    {"cpu", "index", "the CPU that other commands look at", do_cpu, NULL},
    {"x", "/fmt addr", "look at linear memory (/[count][x d u o c i][b h w g])", hmp_x, NULL},
    {"xp", "/fmt addr", "look at physical memory", hmp_xp, NULL},
    {"print|p", "/fmt expr", "print an expression; registers are $rax …", hmp_print, NULL},
    {"gva2gpa", "addr", "translate a linear address", hmp_gva2gpa, NULL},
    {"i", "/fmt port", "read a port", hmp_port_in, NULL},
    {"o", "/fmt port value", "write a port", hmp_port_out, NULL},
    {"memsave", "addr size file", "save linear memory", do_memsave, NULL},
    {"pmemsave", "addr size file", "save physical memory", do_pmemsave, NULL},
    {"set_password", "vnc password", "the password of -vnc …,password=on", do_set_password, NULL},
    {"sendkey", "keys [hold_ms]", "press keys together: sendkey ctrl-alt-delete", do_sendkey, NULL},
    {"mouse_move", "dx dy [dz]", "move the mouse", do_mouse_move, NULL},
    {"mouse_button", "state", "press mouse buttons (1 left, 2 right, 4 middle)", do_mouse_button,
     NULL},
    {"screendump", "file [-f png]", "save the picture", do_screendump, NULL},
    {"device_add", "driver[,prop=value]…", "plug a device in", do_device_add, device_names},
    {"device_del", "id", "unplug a device", do_device_del, NULL},
    {"netdev_add", "type,id=…", "add a network backend", do_netdev_add, NULL},
    {"netdev_del", "id", "remove a network backend", do_netdev_del, NULL},
    {"object_add", "type,id=…", "add an object", do_object_add, NULL},
    {"object_del", "id", "remove an object", do_object_del, NULL},
    {"chardev-add", "backend,id=…", "add a character device", do_chardev_add, NULL},
    {"chardev-remove", "id", "remove a character device", do_chardev_remove, NULL},
    {"eject", "[-f] drive", "take a medium out", do_eject, NULL},
    {"change", "drive file [format]", "put another medium in", do_change, NULL},
    {"commit", "drive|all", "write what -snapshot, or an overlay, holds to the image below",
     do_commit, NULL},
    {"block_resize", "drive size", "change a disk's size", do_block_resize, NULL},
    {"qom-list", "[path]", "the properties of an object", do_qom_list, NULL},
    {"qom-get", "path property", "a property's value", do_qom_get, NULL},
    {"qom-set", "path property value", "set a property", do_qom_set, NULL},
    {"log", "item,…", "what is logged ('none': nothing)", do_log, NULL},
    {"logfile", "file", "where the log goes", do_logfile, NULL},
    {"trace-event", "name on|off", "switch trace events; the name may be a pattern", do_trace_event,
     NULL},
    {"watchdog_action", "action", "what an expired watchdog does", do_watchdog, NULL},
    {0},
};
