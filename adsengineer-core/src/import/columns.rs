//! The columns of Google's templates, and guesses at what foreign headers mean.

macro_rules! columns {
    ($($variant:ident $name:literal [$($guess:literal)*];)*) => {
        /// A column of a template.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Column { $(#[doc = $name] $variant,)* }

        impl Column {
            /// Every column.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the template.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Names, squeezed to letters and digits, under which other programs export the same thing.
            fn guesses(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($guess,)*],)* }
            }
        }
    };
}

columns! {
    Gclid "Google Click ID" ["gclid" "clickid" "googleclickid" "gclidc" "hsgoogleclickid" "googleadsclickid" "adclickid"];
    Gbraid "GBRAID" ["gbraid" "gbraidc"];
    Wbraid "WBRAID" ["wbraid" "wbraidc"];
    Action "Conversion Name" ["conversionname" "conversion" "conversionaction" "action" "dealstage" "stage" "stagename" "lifecyclestage" "leadstatus" "eventname"];
    Time "Conversion Time" ["conversiontime" "conversiondate" "conversiondatetime" "closedate" "closedon" "closed" "wontime" "dealwontime" "dealclosedon" "createdate" "createddate" "createdat" "date" "datetime" "timestamp" "time" "occurredat" "eventtime" "orderdate" "becameacustomerdate" "lastmodifieddate" "datum" "abschlussdatum"];
    Value "Conversion Value" ["conversionvalue" "value" "amount" "dealvalue" "dealamount" "revenue" "total" "price" "annualrevenue" "ordertotal" "wert" "betrag" "umsatz"];
    Currency "Conversion Currency" ["conversioncurrency" "currency" "currencycode" "currencyisocode" "dealcurrency" "dealcurrencycode" "hsdealcurrencycode" "waehrung" "währung"];
    OrderId "Order ID" ["orderid" "transactionid" "dealid" "recordid" "recordiddeal" "opportunityid" "leadid" "id" "ordernumber" "ordername" "invoicenumber" "bestellnummer"];
    AdUserData "Ad User Data" ["aduserdata" "aduserdataconsent" "consent" "consentaduserdata" "marketingconsent"];
    AdPersonalization "Ad Personalization" ["adpersonalization" "adpersonalisation" "adpersonalizationconsent" "consentadpersonalization"];
    Email "Email" ["email" "emailaddress" "mail" "contactemail" "personemail" "personemailwork" "associatedcontactemail" "hashedemail" "useremail"];
    Phone "Phone Number" ["phonenumber" "phone" "mobile" "mobilephone" "mobilephonenumber" "telephone" "personphone" "personphonework" "contactphone" "telefon" "handy" "hashedphonenumber"];
    FirstName "First Name" ["firstname" "givenname" "vorname"];
    LastName "Last Name" ["lastname" "familyname" "surname" "nachname"];
    Country "Country" ["country" "countrycode" "countryregion" "billingcountry" "mailingcountry" "land"];
    Zip "Zip" ["zip" "zipcode" "postalcode" "postcode" "billingzippostalcode" "mailingzippostalcode" "plz"];
    AdjustmentTime "Adjustment Time" ["adjustmenttime" "adjustmentdate" "refunddate" "refundedat"];
    AdjustmentType "Adjustment Type" ["adjustmenttype"];
    AdjustedValue "Adjusted Value" ["adjustedvalue" "newvalue"];
    AdjustedCurrency "Adjusted Value Currency" ["adjustedvaluecurrency" "adjustedcurrency"];
    AttributionModel "Attribution Model" [];
    AttributedCredit "Attributed Credit" [];
}

/// How many columns there are.
pub(crate) const COUNT: usize = Column::ALL.len();

impl Column {
    /// The columns of click ids; a row fills one of them.
    pub const CLICK_IDS: [Self; 3] = [Self::Gclid, Self::Gbraid, Self::Wbraid];

    /// The column of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        Self::ALL.iter().copied().find(|column| column.name().eq_ignore_ascii_case(name))
    }

    /// What a foreign header probably means: a name that CRMs use, else one that differs by a slip of the keyboard.
    pub fn guess(header: &str) -> Option<Self> {
        let squeezed: String = header.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        let known = |column: &&Self| column.guesses().contains(&squeezed.as_str());
        if let Some(column) = Self::ALL.iter().find(known) {
            return Some(*column);
        }
        let distance = |column: &Self| column.guesses().iter().map(|guess| edits(&squeezed, guess)).min().unwrap_or(usize::MAX);
        let nearest = Self::ALL.iter().min_by_key(|column| distance(column))?;
        let allowed = if squeezed.len() < 5 { 0 } else { 1 + squeezed.len() / 8 };
        (distance(nearest) <= allowed).then_some(*nearest)
    }
}

/// The Levenshtein distance of two short texts.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_names_are_found_in_any_case() {
        for column in Column::ALL {
            assert_eq!(Column::named(&format!(" {} ", column.name().to_uppercase())), Some(*column));
        }
        assert_eq!(Column::named("Close Date"), None);
    }

    #[test]
    fn headers_of_crms_and_slips_are_guessed() {
        for (header, column) in [
            ("Close Date", Some(Column::Time)),
            ("Deal - Won time", Some(Column::Time)),
            ("gclid", Some(Column::Gclid)),
            ("GCLID__c", Some(Column::Gclid)),
            ("Amount", Some(Column::Value)),
            ("Deal Currency Code", Some(Column::Currency)),
            ("Person - Email - Work", Some(Column::Email)),
            ("Conversoin Time", Some(Column::Time)),
            ("Googel Click ID", Some(Column::Gclid)),
            ("Favourite colour", None),
            ("x", None),
        ] {
            assert_eq!(Column::guess(header), column, "{header}");
        }
    }

    #[test]
    fn the_edit_distance_counts_insertions_deletions_and_substitutions() {
        for (a, b, expected) in [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)] {
            assert_eq!(edits(a, b), expected, "{a} {b}");
        }
    }
}
