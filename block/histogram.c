/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/histogram.h"

bool histogram_check(const Json *bounds, const char *name, Error **errp)
{
    uint64_t last = 0, v;
    size_t n = bounds ? json_length(bounds) : 0;
    for (size_t i = 0; i < n; i++) {
        if (!json_get_uint(json_at(bounds, i), &v) || v <= last) {
            error_set(errp, "'%s' must be numbers above zero, each larger than the one before",
                      name);
            return false;
        }
        last = v;
    }
    if (n > HISTOGRAM_MAX) {
        error_set(errp, "'%s' has more than %u boundaries", name, HISTOGRAM_MAX);
    }
    return n <= HISTOGRAM_MAX;
}

void histogram_set(BlkHistogram *h, const Json *bounds)
{
    g_free(h->bounds);
    g_free(h->bins);
    *h = (BlkHistogram){0};
    if (bounds && json_length(bounds)) {
        h->n = (unsigned)json_length(bounds);
        h->bounds = g_new(uint64_t, h->n);
        h->bins = g_new0(uint64_t, h->n + 1);
        for (unsigned i = 0; i < h->n; i++) {
            json_get_uint(json_at(bounds, i), &h->bounds[i]);
        }
    }
}

void histogram_add(BlkHistogram *h, uint64_t ns)
{
    unsigned low = 0, high = h->n;
    while (low < high) { /* the first boundary above */
        unsigned mid = (low + high) / 2;
        if (h->bounds[mid] > ns) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    h->bins[low]++;
}

static Json *list(const uint64_t *v, unsigned n)
{
    Json *a = json_array();
    for (unsigned i = 0; i < n; i++) {
        json_append(a, json_uint(v[i]));
    }
    return a;
}

Json *histogram_json(const BlkHistogram *h)
{
    if (!h->bins) {
        return NULL;
    }
    Json *o = json_object();
    json_put(o, "boundaries", list(h->bounds, h->n));
    json_put(o, "bins", list(h->bins, h->n + 1));
    return o;
}
