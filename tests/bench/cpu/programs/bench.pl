# SPDX-License-Identifier: GPL-2.0-or-later
# Hashes, regular expressions, sorting.
use strict;
my ($sum, %count) = (0);
for my $round (1 .. 2) {
    for my $i (1 .. 20000) {
        my $w = "w" . ($i * 7919 % 1013);
        $count{$w} += $i;
        $sum++ if $w =~ /^w(\d)\1/;
        $w =~ s/(\d+)/<$1>/g;
        $sum += length $w;
    }
    my @k = sort { $count{$a} <=> $count{$b} || $a cmp $b } keys %count;
    $sum += @k + index(join(",", @k), "w77");
}
print "$sum\n";
