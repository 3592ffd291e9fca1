# SPDX-License-Identifier: GPL-2.0-or-later
"""Objects, dictionaries, big integers, comprehension."""


class Node:
    __slots__ = ("left", "right", "value")

    def __init__(self, depth, value):
        self.value = value
        self.left = Node(depth - 1, value * 2) if depth else None
        self.right = Node(depth - 1, value * 2 + 1) if depth else None

    def total(self):
        return self.value + (self.left.total() + self.right.total() if self.left else 0)


def sieve(n):
    flags = bytearray([1]) * (n + 1)
    for i in range(2, int(n ** 0.5) + 1):
        if flags[i]:
            for k in range(i * i, n + 1, i):
                flags[k] = 0
    return sum(flags) - 2


words = {}
for i in range(15000):
    word = "w%d" % (i * 7919 % 1013)
    words[word] = words.get(word, 0) + i
print(Node(11, 1).total(), sieve(30000), sum(len(w) * n for w, n in sorted(words.items())),
      3 ** 2000 % 1000003)
