#!/usr/bin/perl
# Reads the control stanzas of .debs and prints the index that packages.nix
# reads: the packages, and the units they are built in.
#
#   index.pl ARCH MULTIARCH DEBS WANTED... <stanzas >index.json
#
# A unit is one store path: mostly one Debian package; several where packages
# find each other by relative paths or depend on each other in a circle.
# Uses nothing but perl-base.
use strict;
use warnings;

my ($arch, $multiarch, $debs, @wanted) = @ARGV;

# Programs that share a store path because they look for their files relative
# to themselves. The unit has the name of its main package.
my %together = (
    libc6   => qr/^(libc6|libc-bin|libgcc-s1|gcc-\d+-base)$/,
    perl    => qr/^(perl|perl-base|perl-modules-.*|libperl5.*)$/,
    python3 => qr/^(lib)?python3(\.\d+)?(-minimal|-stdlib)?$/,
);

# Dependencies of maintainer scripts, of services and of a system to install
# on: a package in a container runs without them.
my $not_at_run_time = qr/^(
    adduser | base-files | base-passwd | debconf | debconf-2\.0 | debianutils | dpkg | git-man |
    init-system-helpers | install-info | libpam-modules | libpam-runtime | lsb-base | media-types |
    openssl-provider-legacy | passwd | sensible-utils | sysvinit-utils | ucf
)$/x;
my %not_for = ("ca-certificates" => { openssl => 1 });

my (%package, %provider);
{
    local $/ = "";
    while (my $stanza = <STDIN>) {
        my %field = $stanza =~ /^([A-Za-z0-9-]+):[ ]*(.*)$/mg;
        $package{ $field{Package} } = \%field;
    }
}
for my $name (sort keys %package) {
    for my $provided (split /,\s*/, $package{$name}{Provides} // "") {
        $provider{ (split / /, $provided)[0] } //= $name;
    }
}

# The names of the packages that $name depends on, of alternatives the first
# one that was downloaded.
sub depends {
    my ($name) = @_;
    my @names;
    for my $clause (map { split /,\s*/, $package{$name}{$_} // "" } "Pre-Depends", "Depends") {
        for my $alternative (split /\s*\|\s*/, $clause) {
            my ($wanted) = $alternative =~ /^([^\s:(]+)/ or next;
            last if $wanted =~ $not_at_run_time || $not_for{$name}{$wanted};
            my $found = exists $package{$wanted} ? $wanted : $provider{$wanted} // next;
            push @names, $found unless $found =~ $not_at_run_time;
            last;
        }
    }
    return @names;
}

# Only what the wanted packages need.
my %unit_of;
my @queue = @wanted;
while (defined(my $name = shift @queue)) {
    next if exists $unit_of{$name};
    $package{$name} or die "index.pl: no .deb of $name\n";
    my ($lead) = grep { exists $package{$_} && $name =~ $together{$_} } sort keys %together;
    $unit_of{$name} = $lead // $name;
    push @queue, depends($name), ($lead // ());
}

# Circles that are left become one unit too: two units that reach each other.
my %reach;
for my $unit (values %unit_of) {
    next if $reach{$unit};
    $reach{$unit} = {};
    my @todo = ($unit);
    while (defined(my $at = shift @todo)) {
        for my $member (grep { $unit_of{$_} eq $at } keys %unit_of) {
            for my $next (map { $unit_of{$_} } depends($member)) {
                push @todo, $next unless $reach{$unit}{$next}++;
            }
        }
    }
}
my %merged;
for my $unit (sort keys %reach) {
    $merged{$unit} = (grep { $_ eq $unit || $reach{$unit}{$_} && $reach{$_}{$unit} } sort keys %reach)[0];
}
$_ = $merged{$_} for values %unit_of;

my (%members, %deps);
for my $name (sort keys %unit_of) {
    my $unit = $unit_of{$name};
    push @{ $members{$unit} }, $name;
    $deps{$unit}{$_} = 1 for grep { $_ ne $unit } map { $unit_of{$_} } depends($name);
}

sub string {
    my ($text) = @_;
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/[\x00-\x1f]/ /g;
    return "\"$text\"";
}
sub list { return "[" . join(", ", map { string($_) } @_) . "]" }

sub object {
    my ($indent, %value) = @_;
    return "{\n" . join(",\n", map { "$indent  " . string($_) . ": $value{$_}" } sort keys %value) . "\n$indent}";
}

my (%packages, %units);
for my $name (keys %unit_of) {
    my $field = $package{$name};
    $packages{$name} = object(
        "    ",
        version     => string($field->{Version}),
        file        => string($field->{File}),
        sha256      => string($field->{SHA256}),
        deps        => list(depends($name)),
        description => string($field->{Description}),
        homepage    => string($field->{Homepage} // ""),
        unit        => string($unit_of{$name}),
    );
}
for my $unit (keys %members) {
    $units{$unit} = object(
        "    ",
        packages => list(@{ $members{$unit} }),
        deps     => list(sort keys %{ $deps{$unit} }),
    );
}
print object(
    "",
    architecture => string($arch),
    multiarch    => string($multiarch),
    debs         => string($debs),
    packages     => object("  ", %packages),
    units        => object("  ", %units),
), "\n";
